"""What a published cycle says of itself: its inputs, its choices and its outputs, with hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phyda_cli import __version__
from phyda_cli.cycle.attempts import OUTPUTS
from phyda_cli.cycle.background import Candidate
from phyda_cli.cycle.clock import stamp
from phyda_cli.cycle.gather import InputFile
from phyda_cli.cycle.making import Making
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import CycleSettings

__all__ = ["cycle_record"]

SCHEMA = 1


def cycle_record(
    settings: CycleSettings,
    making: Making,
    background: Candidate,
    forecasts: Sequence[InputFile],
    report: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """The record of the cycle ``making`` from ``background``, the first of its ``forecasts``, with
    the analysis's ``report`` and other ``facts``."""
    file, *lagged = forecasts
    previous = making.previous
    outputs = {name: making.work / name for name in OUTPUTS}
    own = background.path.parent == making.work
    lead = background.lead_hours
    if lead is None:  # its name does not say it
        lead = report.get("lead_hours")
    record = {
        "schema": SCHEMA,
        "cycle": stamp(making.time),
        "status": "degraded" if making.faults else "ok",
        "reasons": making.faults,
        "phyda_version": __version__,
        "previous": {}
        if previous is None
        else {"cycle": stamp(previous.time), "sha256": sha256(previous.path / "report.json")},
        "memory": {}
        if previous is None or making.memory is None
        else {"cycle": stamp(previous.time), "sha256": sha256(making.memory)},
        "observations": [f.record() for f in making.observations],
        "settings": [f.record() for f in _settings_files(settings, making)],
        "left_out": [f.record() for f in making.left_out],
        "background": file.record()
        | {"origin": background.origin, "lead_hours": lead}
        | ({"copy": background.path.name} if own else {}),
        "lagged": [f.record() for f in lagged],
        "outputs": {n: sha256(p) for n, p in outputs.items() if p.is_file()},
        "analysis": report,
    }
    if report.get("status") == "background_only":
        record["status"] = "background_only"
    return record | facts


def _settings_files(settings: CycleSettings, making: Making) -> list[InputFile]:
    """The settings of the analysis, and the mapping files with their tables of stations."""
    from phyda_cli.observations.read.read import TextTables  # slow to import

    sources = zip(settings.observations, making.files, strict=True)
    maps = tuple(str(source.map) for source, files in sources if files and source.map)
    own = [] if settings.analysis is None else [settings.analysis]
    paths = [path.absolute() for path in (*own, *TextTables(maps).files)]
    return [InputFile(str(p), p.stat().st_size, sha256(p)) for p in dict.fromkeys(paths)]

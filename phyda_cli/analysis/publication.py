"""What an assimilation is asked for, what its outputs were made from, and how they appear."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from phyda_cli import __version__
from phyda_cli.analysis.analyse import Analysis
from phyda_cli.errors import InputError, OutputError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import check_target, sha256, together
from phyda_cli.files.readable import in_utf8
from phyda_cli.formats.background import Background
from phyda_cli.formats.inputs import attributes_of
from phyda_cli.formats.write import write_analysis
from phyda_cli.formats.zarr import is_zarr, store_stamp
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.observations.feedback import write_feedback
from phyda_cli.observations.read.read import TextTables
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = [
    "Request",
    "attribute",
    "grown",
    "one_at_a_time",
    "provenance_of",
    "publish_outputs",
    "stamps",
    "up_to_date",
    "with_copies",
]


@dataclass(frozen=True)
class Request:
    """What to assimilate and where to put it; ``None`` outputs are not written. Without
    ``background`` it is the mean of ``ensemble``. ``previous`` is the feedback file of the analysis
    before this one."""

    obs: list[Path]
    background: Path | None
    out: Path | None
    feedback: Path | None = None
    previous: Path | None = None
    ensemble: list[Path] = field(default_factory=list)
    checkpoint: Path = BUNDLED
    tables: TextTables = field(default_factory=TextTables)
    withhold_file: Path | None = None
    blacklist: Path | None = None
    whitelist: Path | None = None
    limits: Path | None = None
    time: np.datetime64 | None = None
    valid_time: np.datetime64 | None = None
    member: int | None = None
    rename: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    overwrite: bool = False
    replace_changed: bool = False
    allow_no_obs: bool = False
    save_members: bool = False

    @property
    def lists(self) -> tuple[Path | None, ...]:
        """The small files beside the observations."""
        return *self.tables.files, self.withhold_file, self.blacklist, self.whitelist, self.limits

    @property
    def fields(self) -> list[Path]:
        """The files that hold fields."""
        return [*([] if self.background is None else [self.background]), *self.ensemble]


def provenance_of(
    request: Request, settings: AnalysisSettings, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Global attributes that say what the output was made from; ``phyda_inputs`` is their
    fingerprint."""
    stated = {
        "phyda_version": __version__,
        "method": settings.method,
        "physics": settings.physics,
        "seed": settings.seed,
        "model_name": checkpoint.metadata.name,
        "model_sha256": checkpoint.sha256,
        "obs_file": ", ".join(in_utf8(p.name) for p in request.obs),
        "obs_sha256": ", ".join(_hash(p) for p in request.obs),
        "background_file": "mean of the ensemble"
        if request.background is None
        else in_utf8(request.background.name),
        "background_sha256": "" if request.background is None else _hash(request.background),
        "config_json": settings.model_dump_json(),
        "valid_time_override": "" if request.valid_time is None else str(request.valid_time),
    }
    if request.ensemble:
        stated["ensemble_file"] = ", ".join(in_utf8(p.name) for p in request.ensemble)
        stated["ensemble_sha256"] = ", ".join(_hash(p) for p in request.ensemble)
    if request.tables.decimals:
        stated["obs_decimal"] = ", ".join(request.tables.decimals)
    if request.tables.maps:
        stated["obs_map_sha256"] = ", ".join(map(_hash, request.tables.files))
    for name, path in (
        ("previous", request.previous),
        ("withheld", request.withhold_file),
        ("blacklist", request.blacklist),
        ("whitelist", request.whitelist),
        ("limits", request.limits),
    ):
        if path is not None:
            stated[f"{name}_sha256"] = _hash(path)
    options = (
        str(request.time),
        request.member,
        sorted(request.rename.items()),
        request.save_members,
    )
    fingerprint = hashlib.sha256(
        json.dumps([stated, *map(str, options)], sort_keys=True).encode()
    ).hexdigest()
    return stated | {"phyda_inputs": fingerprint}


def _hash(path: Path) -> str:
    """Hash of an input; unreadable ones are left to their reader, which knows what to say."""
    if path.is_dir() and is_zarr(path):
        return store_stamp(path)
    return sha256(path) if path.is_file() else ""


def up_to_date(request: Request, provenance: dict[str, Any]) -> bool:
    """Whether every output exists and was made from the same inputs; other existing outputs are
    refused here, early."""
    outputs = [p for p in (request.out, request.feedback) if p is not None]
    existing = [p for p in outputs if os.path.exists(p)]
    if (
        existing
        and not request.overwrite
        and len(existing) == len(outputs)
        and all(_made_from(p, provenance) for p in existing)
    ):
        return True
    for path in outputs:
        check_target(path, _replaces(path, request, provenance))
    files = (*request.obs, *request.fields, *request.lists, request.previous)
    inputs = [p for p in files if p is not None]
    taken = {p.resolve() for p in inputs}
    if any(p.resolve() in taken for p in outputs) or len({p.resolve() for p in outputs}) < len(
        outputs
    ):
        raise OutputError(
            "an output would replace an input or another output", hint="give each file its own name"
        )
    return False


def _replaces(path: Path, request: Request, provenance: dict[str, Any]) -> bool:
    """Whether ``path`` may be replaced: with ``--overwrite``; where it was made from the same
    inputs; where other inputs made it and the user wants such outputs replaced; and a feedback
    without its analysis, which an interrupted call has left."""
    if request.overwrite or not path.is_file():
        return request.overwrite
    made_from = attribute(path, "phyda_inputs")
    if made_from is None:  # some other file of the user's
        return False
    alone = path == request.feedback and request.out is not None and not request.out.exists()
    return alone or request.replace_changed or made_from == provenance["phyda_inputs"]


def _made_from(path: Path, provenance: dict[str, Any]) -> bool:
    return attribute(path, "phyda_inputs") == provenance["phyda_inputs"]


def attribute(path: Path | None, name: str) -> str | None:
    """A global attribute of an output; None for a file without it."""
    if path is None:
        return None
    try:
        found = attributes_of(path).get(name)
    except InputError:  # damaged, or some other file of the user's
        return None
    return None if found is None else str(found)


def publish_outputs(
    request: Request, background: Background, analysis: Analysis, provenance: dict[str, Any]
) -> None:
    """Write feedback and analysis; both appear, the analysis last, or none does."""
    attributes = provenance | {
        "phyda_notes": in_utf8("; ".join([*background.notes, *analysis.notes])),
    }
    with together():
        if request.feedback is not None:
            overwrite = _replaces(request.feedback, request, provenance)
            write_feedback(request.feedback, analysis.feedback, attributes, overwrite)
        if request.out is not None:
            write_analysis(
                request.out,
                background,
                analysis.fields,
                analysis.increment,
                analysis.spread if analysis.status == "ok" else None,
                analysis.members or None,
                attributes,
                _replaces(request.out, request, provenance),
            )


@contextmanager
def one_at_a_time(request: Request) -> Iterator[None]:
    """Hold the output while it is made. Raises BusyError when another process makes it."""
    for path in (request.out, request.feedback):
        if path is not None:
            check_target(path, overwrite=True)
    out = request.out or request.feedback
    if out is None:
        yield
        return
    with locked(out.with_name(f".{out.name}.lock"), f"another process makes {out}", remove=True):
        yield


Stamps = dict[Path, tuple[int, int]]


def stamps(paths: list[Path]) -> Stamps:
    """Size and time of the last change of each file."""
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in paths if p.is_file()}


def grown(before: Stamps) -> list[Path]:
    """The files that have changed since ``before``."""
    now = stamps(list(before))
    return [path for path, stamp in before.items() if now.get(path) != stamp]


@contextmanager
def with_copies(request: Request) -> Iterator[Request]:
    """``request`` with copies of its observations, which nobody else writes to, of the same
    names."""
    with tempfile.TemporaryDirectory(prefix="phyda-") as folder:
        copies = []
        for number, path in enumerate(request.obs):
            copies.append(Path(folder, f"{number:03d}", path.name))
            copies[-1].parent.mkdir()
            shutil.copyfile(path, copies[-1])
        yield replace(request, obs=copies)

"""Tables of the report: scores, plausibility, stations, provenance."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from phyda_cli.settings.words import as_toml
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.physics import PhysicsReport
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.report_blocks import Block, TableRow
from phyda_cli.verification.screen import number
from phyda_cli.verification.station_health import StationRow, blacklist_lines
from phyda_cli.verification.tidy import Row, units_of

__all__ = ["pivot", "plausibility_block", "provenance_block", "scores_block", "stations_block"]

_MOST_STATIONS = 2000


def pivot(rows: Sequence[Row], names: Sequence[str], states: Sequence[str]) -> list[TableRow]:
    """Rows over all regions with the scores ``names`` as columns; grey what is not independent."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if row.region != "all" or row.group or (row.source == "observations" and row.level):
            continue
        key = (row.source, f"{row.variable}{row.level}", row.independence)
        for state in states:
            if row.state == state and row.score in names:
                found.setdefault(key, {})[row.score] = row
    table = []
    for (source, name, independence), scores in found.items():
        first = next(iter(scores.values()))
        units, factor = READABLE.get(units_of(first.variable), (units_of(first.variable), 1.0))
        cells = []
        for score in names:
            own = scores.get(score)
            scale = factor if own is not None and own.units != "1" else 1.0
            cells.append(number(None if own is None else own.value * scale))
        label = f"{name} ({'truth' if source == 'fields' else independence})"
        table.append(TableRow([label, units, *cells], independence in ("used", "same_origin")))
    return table


def scores_block(rows: Sequence[Row]) -> list[Block]:
    names = ("rmse", "bias", "mae", "ratio", "removed", "increment_correlation")
    table = pivot(rows, names, ("analysis",))
    header = ("analysis against", "units", *(n.replace("_", " ") for n in names))
    return (
        [
            Block(
                caption="scores of the analysis over all regions",
                header=header,
                rows=table,
                left=2,
                sortable=True,
            )
        ]
        if table
        else []
    )


def plausibility_block(physics: PhysicsReport | None) -> list[Block]:
    if physics is None:
        return []
    everywhere = [s for s in physics.equations if s.level is None and s.band is None]
    residuals = _filled(
        ("equation", "background", "analysis", "members", "excess"),
        {s.equation: (s.background_ratio, s.ratio, s.members_ratio, s.excess) for s in everywhere},
        ".3f",
        f"rms of residuals over those of the {physics.reference or 'nothing'} (1: as physical)",
    )
    violations = [v for v in physics.violations if v.level is None and v.band is None]
    impossible = _filled(
        ("what", "background", "analysis", "truth"),
        {
            v.kind: [None if p is None else 100 * p for p in (v.background, v.analysis, v.truth)]
            for v in violations
        },
        ".3g",
        "share of the area with what the atmosphere does not do [%]",
    )
    return [*residuals, *impossible]


def _filled(
    header: Sequence[str], rows: Mapping[str, Sequence[float | None]], form: str, caption: str
) -> list[Block]:
    """A table of names and their numbers, without the columns that are empty; none without rows."""
    kept = [i for i in range(len(header) - 1) if any(n[i] is not None for n in rows.values())]
    cells = [
        TableRow([name.replace("_", " "), *(number(numbers[i], form) for i in kept)])
        for name, numbers in rows.items()
    ]
    heads = (header[0], *(header[i + 1] for i in kept))
    return [Block(caption=caption, header=heads, rows=cells)] if rows else []


def stations_block(stations: Sequence[StationRow]) -> list[Block]:
    if not stations:
        return []
    rows = []
    ordered = sorted(stations, key=lambda s: (not s.reasons, not s.why))
    for s in ordered[:_MOST_STATIONS]:
        _, factor = READABLE.get(s.units, (s.units, 1.0))
        numbers = (s.mean, s.std, s.rms, s.mean5, s.std5)
        rows.append(
            TableRow(
                [
                    s.station,
                    s.variable,
                    READABLE.get(s.units, (s.units, 1.0))[0],
                    str(s.expected),
                    str(s.received),
                    str(s.used),
                    *(number(None if v is None else v * factor) for v in numbers),
                    s.last_seen,
                    ", ".join(f"{n} {why}" for why, n in s.why.items()),
                    "; ".join(s.reasons),
                ]
            )
        )
    header = (
        "station",
        "variable",
        "units",
        "expected",
        "received",
        "used",
        "mean O−B",
        "std",
        "rms",
        "mean 5 days",
        "std 5 days",
        "last seen",
        "rejected",
        "suspicion",
    )
    left_out = len(stations) - len(rows)
    blocks = [
        Block(
            caption="Stations and variables, first the suspicious ones, then those with rejected "
            "reports."
            + (f" phyda verify --stations --json lists {left_out} more." if left_out else ""),
            header=header,
            rows=rows,
            left=3,
            words=(12, 13),
            sortable=True,
        )
    ]
    lines = blacklist_lines(list(stations))
    if lines:
        blocks.append(Block(text="Lines for --blacklist, if you agree:", pre="\n".join(lines)))
    return blocks


_SHOWN_ATTRIBUTES = (
    "phyda_version",
    "method",
    "physics",
    "seed",
    "model_name",
    "model_sha256",
    "obs_file",
    "obs_sha256",
    "background_file",
    "background_sha256",
    "ensemble_file",
    "ensemble_sha256",
    "background_error_scale",
    "correction_weight",
    "phyda_status",
    "phyda_verdict",
    "phyda_notes",
)


def provenance_block(found: Collected) -> list[Block]:
    attributes = found.attributes
    rows = [
        TableRow([name, str(attributes[name])])
        for name in _SHOWN_ATTRIBUTES
        if str(attributes.get(name, ""))
    ]
    if not rows:
        return []
    blocks = [
        Block(
            caption="what the analysis was made from",
            header=("attribute", "value"),
            rows=rows,
            words=(1,),
        )
    ]
    blocks.append(
        Block(
            text="The command to repeat it. FILE stands for inputs of which the attributes hold "
            "the hash alone; they do not hold --time, --member and --rename:",
            pre=_command(attributes),
        )
    )
    settings = _settings_lines(str(attributes.get("config_json", "{}")))
    if settings:
        blocks.append(Block(text="Its settings, for --config:", pre="\n".join(settings)))
    return blocks


def _settings_lines(text: str) -> list[str]:
    """Settings in JSON as lines of TOML; none where they cannot be read."""
    try:
        settings = json.loads(text)
    except json.JSONDecodeError:
        return []
    lines = []
    for name, value in settings.items():
        inner = value.items() if isinstance(value, dict) else ()
        lines += [f"{name}.{key} = {as_toml(each)}" for key, each in inner]
        lines += [] if isinstance(value, dict) else [f"{name} = {as_toml(value)}"]
    return lines


_FILES = {"--obs": "obs_file", "--ensemble": "ensemble_file", "--lagged": "lagged_file"}
_HASHED = {
    "--obs-map": "obs_map_sha256",
    "--previous": "previous_sha256",
    "--withhold-file": "withheld_sha256",
    "--blacklist": "blacklist_sha256",
    "--whitelist": "whitelist_sha256",
    "--limits": "limits_sha256",
    "--points": "points_sha256",
}
_GIVEN = {
    "--valid-time": "valid_time_override",
    "--decimal": "obs_decimal",
    "--iau-hours": "iau_hours",
    "--method": "method",
    "--physics": "physics",
    "--seed": "seed",
}


def _command(attributes: Mapping[str, Any]) -> str:
    stated = {name: str(value) for name, value in attributes.items() if str(value)}
    words = ["phyda", "assimilate"]
    for option, name in _FILES.items():
        for file in stated[name].split(", ") if name in stated else ():
            words += [option, file]
    background = stated.get("background_file", "")
    if background and background != "mean of the ensemble":
        first, *others = background.split(", ")
        same = [
            c[0] for c in takewhile(lambda c: len(set(c)) == 1, zip(first, *others, strict=False))
        ]
        words += ["--background", "".join(same) + "*" if others else background]
    for option, name in _GIVEN.items():
        words += [option, stated[name]] if name in stated else []
    for option, name in _HASHED.items():
        words += [option, "FILE"] if name in stated else []
    for name in stated.get("operators", "").split(", ") if "operators" in stated else ():
        words += ["--operator", f"{name}=FILE"]
    return shlex.join([*words, "--out", "analysis.nc"])

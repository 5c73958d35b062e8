"""Tables of the report: scores, plausibility, stations, provenance."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

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
    rows = [
        TableRow(
            [
                s.equation,
                *(
                    number(v, ".3f")
                    for v in (s.background_ratio, s.ratio, s.members_ratio, s.excess)
                ),
            ]
        )
        for s in everywhere
    ]
    against = physics.reference or "nothing"
    blocks = (
        [
            Block(
                caption=f"rms of residuals over those of the {against} (1: as physical)",
                header=("equation", "background", "analysis", "members", "excess"),
                rows=rows,
            )
        ]
        if rows
        else []
    )
    violations = [v for v in physics.violations if v.level is None and v.band is None]
    cells = [
        TableRow(
            [
                v.kind.replace("_", " "),
                *(
                    number(None if p is None else 100 * p)
                    for p in (v.background, v.analysis, v.truth)
                ),
            ]
        )
        for v in violations
    ]
    if cells:
        blocks.append(
            Block(
                caption="part of the area where it cannot be [%]",
                header=("what", "background", "analysis", "truth"),
                rows=cells,
            )
        )
    return blocks


def stations_block(stations: Sequence[StationRow]) -> list[Block]:
    if not stations:
        return []
    rows = []
    for s in stations[:_MOST_STATIONS]:
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
        "suspicion",
    )
    left_out = len(stations) - len(rows)
    blocks = [
        Block(
            caption="stations and variables, the suspicious ones first"
            + (f"; {left_out} more in --json" if left_out else ""),
            header=header,
            rows=rows,
            left=3,
            words=(12,),
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
    blocks.append(Block(text="The command to repeat it:", pre=_command(attributes)))
    try:
        settings = json.dumps(json.loads(str(attributes.get("config_json", "{}"))), indent=1)
    except json.JSONDecodeError:
        settings = ""
    if settings and settings != "{}":
        blocks.append(
            Block(text="with these settings (--config takes them as TOML):", pre=settings)
        )
    return blocks


def _command(attributes: dict[str, Any] | Any) -> str:
    words = ["phyda", "assimilate"]
    for name in str(attributes.get("obs_file", "")).split(", "):
        words += ["--obs", name] if name else []
    if str(attributes.get("ensemble_file", "")):
        for name in str(attributes["ensemble_file"]).split(", "):
            words += ["--ensemble", name]
    background = str(attributes.get("background_file", ""))
    if background and background != "mean of the ensemble":
        words += ["--background", background]
    for option in ("method", "physics", "seed"):
        if option in attributes:
            words += [f"--{option}", str(attributes[option])]
    return shlex.join([*words, "--out", "analysis.nc"])

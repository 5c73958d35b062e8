"""The folded parts of the report: maps, profiles, histograms, series, calibration, spectra,
plausibility, stations, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.fields.remap import to_grid
from phyda_cli.names import OBSERVABLES, VARIABLES, Channel
from phyda_cli.observations.table import QC
from phyda_cli.verification.channels import common_channels
from phyda_cli.verification.charts import (
    departure_histogram,
    profile_chart,
    rank_chart,
    scorecard_chart,
    series_chart,
    spectra_chart,
)
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.departure_maps import departure_map, rejected_map
from phyda_cli.verification.experiments import Scorecard
from phyda_cli.verification.history import SERIES_NAMES
from phyda_cli.verification.maps import View, sequential, shared, stations_of_channel, symmetric
from phyda_cli.verification.physics import PhysicsReport
from phyda_cli.verification.plots import figure_of
from phyda_cli.verification.readable import READABLE, raised
from phyda_cli.verification.report_blocks import Block, Section, picture
from phyda_cli.verification.report_tables import (
    pivot,
    plausibility_block,
    provenance_block,
    scores_block,
    stations_block,
)
from phyda_cli.verification.spectra import spectra_of
from phyda_cli.verification.station_health import StationRow
from phyda_cli.verification.sums import Key
from phyda_cli.verification.tidy import Row, units_of

__all__ = ["rejections", "sections_of"]

_MAPPED = ("t850", "msl", "z500", "t2m")
_MOST_MAPS = 2


def sections_of(
    found: Collected,
    rows: Sequence[Row],
    stations: Sequence[StationRow],
    card: Scorecard | None,
    physics: PhysicsReport | None,
    history: int,
) -> list[Section]:
    """Every part that has something to show."""
    sections = [
        Section("Maps", _maps(found)),
        Section("Profiles", _profiles(found)),
        Section("Histograms of departures", _histograms(found)),
        Section("Series", _series(found, history)),
        Section("Calibration", _calibration(found, rows)),
        Section("Spectra", _spectra(found)),
        Section("Plausibility", plausibility_block(physics)),
        Section("Scorecard", _scorecard(card)),
        Section("Scores", scores_block(rows)),
        Section(f"Stations ({len({s.station for s in stations})})", stations_block(stations)),
        Section("Provenance", provenance_block(found)),
    ]
    return [s for s in sections if s.blocks]


def _maps(found: Collected) -> list[Block]:
    blocks = []
    file, background = found.last, found.background
    if file is not None and background is not None:
        channels = common_channels(file.fields, background)
        chosen = [c for key in _MAPPED for c in channels if c.key == key] or channels
        for channel in chosen[:_MOST_MAPS]:
            blocks += _maps_of(found, channel)
    if found.rows is not None:
        blocks += _departure_maps(found.rows)
    return blocks


def _maps_of(found: Collected, channel: Channel) -> list[Block]:
    """Background and analysis with one scale, increment and spread."""
    file, background = found.last, found.background
    assert file is not None
    assert background is not None
    grid = file.fields.grid
    variable = VARIABLES[channel.variable]
    units, factor = READABLE.get(variable.units, (variable.units, 1.0))
    before, after = (factor * to_grid(f, [channel], grid)[0][0] for f in (background, file.fields))
    view = View(grid)
    style = shared([before, after], channel.variable)
    at = "" if channel.level is None else f" at {channel.level:g} hPa"
    name = f"{variable.long_name}{at}"
    states = figure_of(
        [("background", before, style), ("analysis", after, style)], view, raised(units), width=6
    )
    change = after - before
    panels = [("increment", change, symmetric(change, channel.variable))]
    if file.spread is not None:
        values, there = to_grid(file.spread, [channel], grid)
        if there[0]:
            panels.append(("spread", factor * values[0], sequential(factor * values[0])))
    dots = None if found.rows is None else stations_of_channel(found.rows, channel)
    changes = figure_of(panels, view, raised(units), stations=dots, width=6)
    largest = float(np.nanmax(np.abs(change)))
    shown = "increment and spread" if file.spread is not None else "increment"
    if dots is not None and any(p[0].size for p in (dots.used, dots.rejected, dots.passive)):
        shown += ", with the stations that observe it"
    return [
        picture(
            states,
            f"Maps of {name}, background and analysis, from {np.nanmin(after):.4g} to "
            f"{np.nanmax(after):.4g} {units} in the analysis",
            f"{name}: background and analysis share the colours",
        ),
        picture(
            changes,
            f"Maps of the increment of {name}, at most {largest:.3g} {units}, and of the spread",
            f"{name}: {shown}",
        ),
    ]


def _departure_maps(rows: pd.DataFrame) -> list[Block]:
    blocks = []
    used = rows[(rows["EffectiveQC"] <= QC.PASSIVE).to_numpy()]
    if len(used):
        variable = used["variable"].value_counts(sort=True).index[0]
        surface = [v for v in ("t2m", "msl", "u10") if (used["variable"] == v).any()]
        variable = surface[0] if surface else str(variable)
        own = used[(used["variable"] == variable).to_numpy()]
        blocks.append(
            picture(
                departure_map(own, variable),
                f"Map of O−B of {variable} over its expected error at {len(own)} observations",
                f"O−B of {variable} over its expected standard deviation; triangles are withheld",
            )
        )
    rejected = rows[(rows["EffectiveQC"] > QC.PASSIVE).to_numpy()]
    if len(rejected):
        listed = ", ".join(rejections(rows))
        blocks.append(
            picture(rejected_map(rejected), f"Map of rejected observations: {listed}", listed)
        )
    return blocks


def rejections(rows: pd.DataFrame) -> list[str]:
    """How many of ``rows`` were rejected for each reason, the most frequent one first."""
    codes = rows.loc[rows["EffectiveQC"] > QC.PASSIVE, "EffectiveQC"].value_counts()
    return [f"{n} {QC(int(code)).meaning}" for code, n in codes.items()]


def _layered(rows: pd.DataFrame, variable: str) -> tuple[list[str], list[np.ndarray]]:
    """Layers of pressure from the top down that ``variable`` has, and their rows."""
    edges = np.array([0, 100, 250, 400, 600, 775, 900, 1100]) * 100.0
    own = rows[(rows["variable"] == variable).to_numpy()]
    pressure = own["pressure"].to_numpy(float)
    names, parts = [], []
    for low, high in pairwise(edges):
        inside = (pressure > low) & (pressure <= high)
        if inside.any():
            names.append(f"{low / 100:.0f}–{high / 100:.0f} hPa")
            parts.append(own.index[inside].to_numpy())
    return names, parts


def _profiles(found: Collected) -> list[Block]:
    if found.rows is None:
        return []
    rows = found.rows.reset_index(drop=True)
    blocks = []
    for variable in ("t", "u", "q"):
        names, parts = _layered(rows, variable)
        if len(names) < 2:
            continue
        units, factor = READABLE.get(units_of(variable), (units_of(variable), 1.0))
        statistics: dict[str, list[float]] = {k: [] for k in ("b", "a", "mb", "ma")}
        counts = []
        for index in parts:
            part = rows.loc[index]
            used = part[(part["EffectiveQC"] == QC.PASS).to_numpy()]
            counts.append((len(part), len(used)))
            before, after = (factor * used[k].to_numpy(float) for k in ("ombg", "oman"))
            for key, values in (("b", before), ("a", after)):
                good = values[np.isfinite(values)]
                statistics[key].append(float(np.sqrt((good**2).mean())) if good.size else np.nan)
                statistics[f"m{key}"].append(float(good.mean()) if good.size else np.nan)
        lines: list[tuple[str, np.ndarray, dict[str, Any]]] = [
            ("rms O−B", np.array(statistics["b"]), {"color": "#d95f02"}),
            ("rms O−A", np.array(statistics["a"]), {"color": "#1b6ca8"}),
            ("mean O−B", np.array(statistics["mb"]), {"color": "#d95f02", "linestyle": ":"}),
            ("mean O−A", np.array(statistics["ma"]), {"color": "#1b6ca8", "linestyle": ":"}),
        ]
        label = f"{OBSERVABLES[variable].long_name} [{raised(units)}], used observations"
        listed = "; ".join(
            f"{name} {b:.3g} to {a:.3g}"
            for name, b, a in zip(names, statistics["b"], statistics["a"], strict=True)
        )
        blocks.append(
            picture(
                profile_chart(names, lines, counts, label),
                f"Profile of departures of {variable}, rms O−B to rms O−A [{units}]: {listed}",
                f"Departures of {variable}; used observations are not independent",
            )
        )
    return blocks


def _histograms(found: Collected) -> list[Block]:
    if found.rows is None:
        return []
    rows = found.rows
    passing = rows[(rows["EffectiveQC"] <= QC.PASSIVE).to_numpy()]
    blocks = []
    for kind, code in (("withheld", QC.PASSIVE), ("used", QC.PASS)):
        own = passing[(passing["EffectiveQC"] == code).to_numpy()]
        if len(own) < 20:
            continue
        error, sigma_b = (own[k].to_numpy(float) for k in ("EffectiveError", "hofx0_error"))
        expected = np.sqrt(error**2 + sigma_b**2)
        before, after = (own[k].to_numpy(float) / expected for k in ("ombg", "oman"))
        blocks.append(
            picture(
                departure_histogram(before, after, 1.0, f"departure over expected, {kind}"),
                f"Histogram of normalised departures of {len(own)} {kind} observations: O−B has "
                f"the standard deviation {np.nanstd(before):.2f}, expected is 1",
                f"{len(own)} {kind} observations; the ends hold what lies beyond",
            )
        )
    return blocks


def _series(found: Collected, history: int) -> list[Block]:
    if len(found.moments) < 3:
        return []
    blocks = []
    for name in SERIES_NAMES:
        values = [getattr(m, name) for m in found.moments]
        known = [float(v) for v in values if v is not None]
        if len(known) >= 3 and any(known):
            blocks.append(
                picture(
                    series_chart(found.moments, name, history),
                    f"Series of {SERIES_NAMES[name]}: latest {known[-1]:.4g}, "
                    f"median {np.median(known):.4g} of {len(known)}",
                    f"band: three robust standard deviations, median of the last {history}",
                )
            )
    return blocks


def _calibration(found: Collected, rows: Sequence[Row]) -> list[Block]:
    wanted = [
        k
        for k in sorted(found.sums.ranks)
        if k.region == "all"
        and not k.group
        and k.independence != "used"
        and (
            (k.source == "fields" and k.variable in ("t", "z") and k.level in ("850", "500"))
            or (k.source == "observations" and not k.level and k.variable in ("t2m", "t", "msl"))
        )
    ][:4]
    blocks = [
        picture(
            rank_chart(found.sums.ranks[k], _name_of(k)),
            f"Rank histogram of {_name_of(k)}: "
            + ", ".join(f"{c:.0f}" for c in found.sums.ranks[k]),
            "flat where the spread is right; a U says too narrow, a dome too wide",
        )
        for k in wanted
    ]
    names = ("spread", "spread_skill", "crps", "coverage_50", "coverage_90", "rank_p")
    table = pivot(rows, names, ("analysis",))
    if table:
        header = ("of", "units", *(n.replace("_", " ") for n in names))
        blocks.append(
            Block(
                caption="Is the spread right? The errors of observations are part of it. Spread "
                "skill is then 1, coverage 50 and 90 are 0.5 and 0.9, and rank p is not small.",
                header=header,
                rows=table,
                left=2,
            )
        )
    return blocks


def _name_of(key: Key) -> str:
    kind = "truth" if key.source == "fields" else f"{key.independence} observations"
    return f"{key.variable}{key.level} against {kind}"


def _spectra(found: Collected) -> list[Block]:
    if found.last is None:
        return []
    spectra = spectra_of(found.last.fields, found.background, found.truth)[:3]
    if not spectra:
        return []
    names = [s.channel.rstrip("0123456789.") for s in spectra]
    units = [
        units_of(n if n in OBSERVABLES else s.channel) for n, s in zip(names, spectra, strict=True)
    ]
    known = "; ".join(
        f"{s.channel} {'unknown' if s.effective_km is None else f'{s.effective_km:.0f} km'}"
        for s in spectra
    )
    return [
        picture(
            spectra_chart(spectra, units),
            f"Power spectra by wavelength; effective resolution: {known}",
            f"effective resolution (grey line): {known}",
        )
    ]


def _scorecard(card: Scorecard | None) -> list[Block]:
    if card is None:
        return []
    judged = {k: sum(c.verdict == k for c in card.cells) for k in ("better", "worse", "same")}
    return [
        picture(
            scorecard_chart(card),
            f"Scorecard of {len(card.cells)} cells over {card.common} common times: "
            f"{judged['better']} better, {judged['worse']} worse, {judged['same']} without a "
            "significant difference",
            "false-discovery rate 5 %, block bootstrap and Diebold–Mariano over common times",
        )
    ]

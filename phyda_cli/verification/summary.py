"""What a pass over analyses says in short: headline, tables, and the numbers that limits name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phyda_cli.verification.collected import Collected
from phyda_cli.verification.physics import PhysicsReport
from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.screen import TextTable, number
from phyda_cli.verification.significance import FEWEST_TIMES, bootstrap_bounds
from phyda_cli.verification.sums import Key, Sums
from phyda_cli.verification.tidy import INDEPENDENT, Row, tidy_rows

__all__ = ["SHOWN", "Headline", "numbers_of", "rows_with_bounds", "summarise", "summary_tables"]

SHOWN: tuple[str, ...] = (
    "z500",
    "t850",
    "t500",
    "u850",
    "v850",
    "u500",
    "v500",
    "u200",
    "v200",
    "q700",
)
SHOWN += ("msl", "t2m", "u10", "v10")
"""The fields that tables show first."""


@dataclass(frozen=True)
class Headline:
    """``ratio`` of RMSEs of independent observations and the number of ``variables`` and ``n`` it
    is the mean of; ``field_ratio`` likewise of the fields, whose independence is ``truth_is``;
    ``chi2`` of the background against the observations that it has not seen."""

    times: Sequence[np.datetime64]
    ratio: float | None = None
    variables: int = 0
    n: int = 0
    field_ratio: float | None = None
    fields: int = 0
    truth_is: str = "unknown"
    chi2: float | None = None
    used: int | None = None
    rejected: int | None = None
    lines: list[str] = field(default_factory=list)


def rows_with_bounds(sums: Sums, seed: int = 0) -> list[Row]:
    """Every score; those of the RMSE over all regions and groups with 95 % bounds where there are
    ten times or more."""
    bounds: dict[tuple[Key, str], tuple[float, float]] = {}
    for key in sums.series:
        columns = sums.series_of(key)
        if columns["time"].size < FEWEST_TIMES:
            continue
        for state, name in (("analysis", "a_squared"), ("background", "b_squared")):
            pair = np.stack([columns[name], columns["weight"]], axis=1)
            low, high = _ratio_bounds(pair, seed)
            bounds[key, state] = low, high
    found = []
    for row in tidy_rows(sums):
        if row.score == "rmse" and row.region == "all" and not row.group:
            independence = "used" if row.independence == "next_background" else row.independence
            key = Key(row.source, row.variable, row.level, row.region, "", independence)
            if (key, row.state) in bounds:
                low, high = bounds[key, row.state]
                row = Row(**(row.as_dict() | {"low": low, "high": high}))  # type: ignore[arg-type]
        found.append(row)
    return found


def _ratio_bounds(pair: np.ndarray, seed: int) -> tuple[float, float]:
    """Bounds of the root of the ratio of two means (T, 2), by its linear part."""
    total = pair.mean(axis=0)
    if total[1] <= 0 or total[0] <= 0:
        return 0.0, 0.0
    mean = total[0] / total[1]
    influence = mean + (pair[:, 0] - mean * pair[:, 1]) / total[1]
    low, high = bootstrap_bounds(influence, count=400, seed=seed)
    return float(np.sqrt(max(float(low), 0.0))), float(np.sqrt(max(float(high), 0.0)))


def _overall(rows: Sequence[Row], source: str, state: str, score: str) -> list[Row]:
    """The rows of a score over all regions and groups; of observations those over all layers."""
    return [
        r
        for r in rows
        if r.source == source
        and r.state == state
        and r.score == score
        and r.region == "all"
        and not r.group
        and (source == "fields" or not r.level)
    ]


def summarise(found: Collected, rows: Sequence[Row], verdict: str = "") -> Headline:
    """The headline of a pass. Only what is independent stands in it; the fields' independence is
    named."""
    times = [np.datetime64(t, "s") for t in sorted(found.sums.times)]
    withheld = [
        r
        for r in _overall(rows, "observations", "analysis", "ratio")
        if r.independence in INDEPENDENT
    ]
    fields = [r for r in _overall(rows, "fields", "analysis", "ratio") if _is_component(r)]
    chi2 = _pooled(found.sums, "chi2", "weight_chi2")
    moment = found.moments[-1] if found.moments else None
    truth_is = fields[0].independence if fields else "unknown"
    headline = Headline(
        times,
        mean_ratio(r.value for r in withheld),
        len(withheld),
        sum(r.n for r in withheld),
        mean_ratio(r.value for r in fields),
        len(fields),
        truth_is,
        chi2,
        None if moment is None else moment.used,
        None if moment is None else moment.rejected,
    )
    headline.lines.extend(_lines(headline, verdict))
    return headline


def _is_component(row: Row) -> bool:
    return row.variable not in ("wind", "wind10")


def _pooled(sums: Sums, name: str, weight: str) -> float | None:
    keys = [
        k
        for k in sums.rows
        if k.source == "observations" and k.region == "all" and not k.group and not k.level
    ]
    keys = [k for k in keys if k.independence == "used"]
    total = sum(sums.value(k, weight) for k in keys)
    return sum(sums.value(k, name) for k in keys) / total if total > 0 else None


def _lines(head: Headline, verdict: str) -> list[str]:
    lines = [span_of(head.times)]
    if verdict:
        lines.append(f"verdict: {verdict}")
    if head.ratio is not None:
        lines.append(
            f"withheld stations: RMSE {_change(head.ratio)} (mean of {head.variables} variables, "
            f"n = {head.n})"
        )
    if head.field_ratio is not None and head.truth_is != "same_origin":
        known = "" if head.truth_is == "withheld" else "; independence unknown"
        lines.append(
            f"truth: RMSE {_change(head.field_ratio)} (mean of {head.fields} fields{known})"
        )
    if head.chi2 is not None:
        lines.append(f"observations against the background: chi2 {head.chi2:.3g} (1 as expected)")
    if head.used is not None:
        lines.append(f"used {head.used}, rejected {head.rejected} (latest analysis)")
    return lines


def _change(ratio: float) -> str:
    if ratio <= 1:
        return f"{100 * (1 - ratio):.1f} % below the background's"
    return f"{100 * (ratio - 1):.1f} % ABOVE the background's"


def span_of(times: Sequence[np.datetime64]) -> str:
    """``2011-01-21 06:00 UTC``, or first and last and how many."""
    if not times:
        return "nothing"
    first, last = (
        np.datetime_as_string(t, unit="m").replace("T", " ") for t in (times[0], times[-1])
    )
    return f"{first} UTC" if len(times) == 1 else f"{len(times)} analyses, {first} to {last} UTC"


def summary_tables(rows: Sequence[Row], name: str, truth: str) -> list[TextTable]:
    """Fields, withheld, other and used observations: one line a variable."""
    tables = [_field_table(rows, f"{name} against {truth}")]
    for kind, title in (
        ("withheld", "withheld observations"),
        ("unknown", "observations, independence unknown"),
        ("used", "used observations (not independent)"),
    ):
        tables.append(_observation_table(rows, kind, title))
    return tables


def _by_name(rows: Sequence[Row], source: str, kinds: Sequence[str]) -> dict[str, dict[str, Row]]:
    """Rows over all regions and groups, by variable and level, then by score (background's with
    ``bg``)."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.source != source or row.region != "all" or row.group:
            continue
        if (source == "observations" and row.level) or row.independence not in kinds:
            continue
        name = f"{row.variable}{row.level}"
        score = row.score if row.state == "analysis" else f"bg {row.score}"
        found.setdefault(name, {})[score] = row
    return found


def _cells(scores: Mapping[str, Row], columns: Mapping[str, tuple[str, str]]) -> list[str]:
    first = next(iter(scores.values()))
    units = READABLE.get(first.units, (first.units, 1.0))[0] if first.units != "1" else ""
    cells = []
    for score, (_, form) in columns.items():
        row = scores.get(score)
        scale = 1.0
        if row is not None and row.units != "1":
            units, scale = READABLE.get(row.units, (row.units, 1.0))
        cells.append(number(None if row is None else row.value * scale, form))
    return [units, *cells]


_FIELD_COLUMNS = {
    "bg rmse": ("rmse bg", ".3g"),
    "rmse": ("rmse an", ".3g"),
    "ratio": ("ratio", ".3f"),
    "bg bias": ("bias bg", "+.2g"),
    "bias": ("bias an", "+.2g"),
    "spread_skill": ("spread/rmse", ".2f"),
    "crps": ("crps", ".3g"),
}
_OBSERVED_COLUMNS = {
    "bg rmse": ("rms O-B", ".3g"),
    "rmse": ("rms O-A", ".3g"),
    "ratio": ("ratio", ".3f"),
    "bg bias": ("mean B-O", "+.2g"),
    "bias": ("mean A-O", "+.2g"),
    "chi2": ("chi2", ".2f"),
    "spread_skill": ("spread/rmse", ".2f"),
    "sigma_o": ("sigma_o", ".3g"),
    "sigma_b": ("sigma_b", ".3g"),
}


def _filled(
    columns: Mapping[str, tuple[str, str]], found: Mapping[str, Mapping[str, Row]]
) -> dict[str, tuple[str, str]]:
    return {k: v for k, v in columns.items() if any(k in scores for scores in found.values())}


def _field_table(rows: Sequence[Row], title: str) -> TextTable:
    found = _by_name(rows, "fields", ("unknown", "withheld", "same_origin"))
    columns = _filled(_FIELD_COLUMNS, found)
    order = [n for n in SHOWN if n in found] + [n for n in found if n not in SHOWN]
    lines = [[name, *_cells(found[name], columns)] for name in order]
    ratios = [
        s["ratio"].value
        for s in found.values()
        if "ratio" in s and s["ratio"].variable not in ("wind", "wind10")
    ]
    if ratios and "ratio" in columns:
        mean = sum(ratios) / len(ratios)
        cells = [number(mean, ".3f") if c == "ratio" else "" for c in columns]
        lines.append([f"mean of {len(ratios)}", "", *cells])
    header = ["field", "units", *(c for c, _ in columns.values())]
    return TextTable(title, header, lines, last=bool(ratios))


def _observation_table(rows: Sequence[Row], kind: str, title: str) -> TextTable:
    kinds = (kind, "next_background") if kind == "used" else (kind,)
    found = _by_name(rows, "observations", kinds)
    columns = _filled(_OBSERVED_COLUMNS, found)
    lines = []
    for name, scores in found.items():
        n = next(iter(scores.values())).n
        units, *cells = _cells(scores, columns)
        lines.append([name, units, str(n), *cells])
    header = ["variable", "units", "n", *(c for c, _ in columns.values())]
    return TextTable(title, header, lines)


def numbers_of(
    found: Collected, head: Headline, physics: PhysicsReport | None = None
) -> dict[str, float | None]:
    """Numbers for limits that are no row: totals, chi2, mean ratios, ratios of the physics."""
    extra: dict[str, float | None] = {
        "used.total": head.used,
        "rejected.total": head.rejected,
        "chi2": head.chi2,
        "withheld.ratio": head.ratio,
        "truth.ratio": head.field_ratio,
    }
    if found.moments:
        extra["withheld.total"] = found.moments[-1].withheld
    if physics is not None:
        for score in physics.equations:
            if score.level is None and score.band is None:
                extra[f"{score.equation}.ratio"] = score.ratio
        for violation in physics.violations:
            if violation.level is None and violation.band is None:
                extra[f"{violation.kind}.part"] = violation.analysis
    return extra

"""From sums to scores: one tidy row for each number, what it is of and how independent it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from phyda_cli.names import OBSERVABLES
from phyda_cli.verification.ranks import coverage, rank_shape
from phyda_cli.verification.sums import Key, Sums

__all__ = [
    "INDEPENDENT",
    "ROW_FIELDS",
    "Row",
    "increment_correlation",
    "spread_of",
    "tidy_rows",
    "units_of",
]

INDEPENDENT = ("withheld", "next_background")
"""What may stand in a headline."""

FEWEST = 20  # independent values that a distribution or an estimate of errors is told from


@dataclass(frozen=True)
class Row:
    """One score: of ``state`` (analysis, background), in ``units``, from ``n`` values;
    ``low`` and ``high`` bound 95 % where there are enough times to tell, else None."""

    source: str
    variable: str
    level: str
    region: str
    group: str
    independence: str
    state: str
    score: str
    value: float
    n: int
    units: str
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


ROW_FIELDS = tuple(Row.__dataclass_fields__)


def units_of(variable: str) -> str:
    """Canonical units; the vector wind has its components'."""
    if variable in ("wind", "wind10"):
        return "m s-1"
    return OBSERVABLES[variable].units if variable in OBSERVABLES else ""


def spread_of(sums: Sums, key: Key) -> tuple[float | None, float | None]:
    """Root mean variance, and that over the RMSE at the same points."""
    weight = sums.value(key, "weight_v")
    if weight <= 0:
        return None, None
    spread = float(np.sqrt(sums.value(key, "variance") / weight))
    skill = float(np.sqrt(sums.value(key, "a_squared_v") / weight))
    return spread, spread / skill if skill > 0 else None


def increment_correlation(sums: Sums, key: Key) -> float | None:
    """Correlation of analysis - background with reference - background, None where either is
    constant."""
    weight = sums.value(key, "weight_b")
    if weight <= 0 or key.variable in ("wind", "wind10"):
        return None
    names = ("a_b", "b", "ab", "a_squared_b", "b_squared")
    a, b, ab, aa, bb = (sums.value(key, name) / weight for name in names)
    covariance = (bb - ab) - (a - b) * -b
    increment, wanted = aa - 2 * ab + bb - (a - b) ** 2, bb - b**2
    # Below the rounding of the sums there is no variance left to correlate.
    if increment <= 1e-12 * max(aa, bb) or wanted <= 1e-12 * bb:
        return None
    return float(np.clip(covariance / np.sqrt(increment * wanted), -1, 1))


def tidy_rows(sums: Sums) -> Iterator[Row]:
    """Every score of every key, in the order of the keys."""
    for key in sorted(sums.rows):
        n = round(sums.value(key, "count"))
        if n == 0:
            continue
        units = units_of(key.variable)
        for score, value, unit in _analysis_scores(sums, key, n):
            if value is not None and np.isfinite(value):
                yield Row(*key, "analysis", score, float(value), n, units if unit else "1")
        for score, value, unit in _background_scores(sums, key):
            if value is not None and np.isfinite(value):
                before = key._replace(independence=_of_background(key.independence))
                yield Row(*before, "background", score, float(value), n, units if unit else "1")


def _of_background(independence: str) -> str:
    """A background has not seen the observations that its analysis has used."""
    return "next_background" if independence == "used" else independence


Scores = Iterator[tuple[str, float | None, bool]]  # name, value, whether it has units


def _root(value: float) -> float | None:
    return float(np.sqrt(value)) if value >= 0 else None


def _analysis_scores(sums: Sums, key: Key, n: int) -> Scores:
    weight, weight_b = sums.value(key, "weight"), sums.value(key, "weight_b")
    square = sums.value(key, "a_squared") / weight
    yield "bias", sums.value(key, "a") / weight, True
    yield "rmse", _root(square), True
    yield "mae", sums.value(key, "a_absolute") / weight, True
    if weight_b > 0 and sums.value(key, "b_squared") > 0:
        ratio = np.sqrt(sums.value(key, "a_squared_b") / sums.value(key, "b_squared"))
        yield "ratio", ratio, False
        yield "removed", 1 - ratio, False
    yield "increment_correlation", increment_correlation(sums, key), False
    if sums.value(key, "weight_crps") > 0:
        yield "crps", sums.value(key, "crps") / sums.value(key, "weight_crps"), True
    spread, skill = spread_of(sums, key)
    yield "spread", spread, True
    yield "spread_skill", skill, False
    if key in sums.ranks and n >= FEWEST:
        counts = sums.ranks[key]
        shape = rank_shape(counts)
        if shape is not None:
            yield "rank_slope", shape.slope, False
            yield "rank_curvature", shape.curvature, False
            yield "rank_p", shape.p, False
        for part in (0.5, 0.9):
            yield f"coverage_{part:.0%}".rstrip("%"), coverage(counts, part), False
    if sums.value(key, "s1_size") > 0:
        yield "s1", 100 * sums.value(key, "s1_error") / sums.value(key, "s1_size"), False
    error = sums.value(key, "error_squared") / weight
    if error > 0:
        yield "rmse_without_sigma_o", _root(max(square - error, 0.0)), True
    if sums.value(key, "weight_chi2") > 0:
        yield "chi2", sums.value(key, "chi2") / sums.value(key, "weight_chi2"), False
    if key.independence == "used" and weight_b > 0:
        yield "jo_change", (sums.value(key, "jo_a") - sums.value(key, "jo_b")) / 2, False
        yield "degrees_of_freedom", sums.value(key, "signal"), False
        yield "influence", sums.value(key, "signal") / n, False
    if key.independence == "used" and weight_b > 0 and n >= FEWEST:
        product = sums.value(key, "ab") / weight_b
        yield "sigma_o", _root(product), True
        yield "sigma_b", _root(sums.value(key, "b_squared") / weight_b - product), True


def _background_scores(sums: Sums, key: Key) -> Scores:
    weight = sums.value(key, "weight_b")
    if weight <= 0:
        return
    square = sums.value(key, "b_squared") / weight
    yield "bias", sums.value(key, "b") / weight, True
    yield "rmse", _root(square), True
    if sums.value(key, "s1_size_b") > 0:
        yield "s1", 100 * sums.value(key, "s1_error_b") / sums.value(key, "s1_size_b"), False
    error = sums.value(key, "error_squared") / sums.value(key, "weight")
    if error > 0:
        yield "rmse_without_sigma_o", _root(max(square - error, 0.0)), True

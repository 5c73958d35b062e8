"""A few numbers of every analysis, and control limits from the last ones: what a series shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.observations.table import QC
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.physics import assess

__all__ = [
    "SERIES_NAMES",
    "Limits",
    "Moment",
    "control_limits",
    "moment_of",
    "physical_ratios",
    "series_limits",
]


@dataclass(frozen=True)
class Moment:
    """One analysis: counts of observations, normalised departures (over sigma_o) of used and
    withheld ones, and root mean squares of increment and spread over the background's error scale.

    ``increment`` and ``spread`` are those of 500 hPa geopotential [m2 s-2], or of the first field
    that there is; ``*_ratio`` is the rms of a residual over the truth's, or without a truth over
    the background's; None is what is not known.
    """

    time: np.datetime64
    used: int | None = None
    withheld: int | None = None
    rejected: int | None = None
    ombg: float | None = None
    oman: float | None = None
    ombg_withheld: float | None = None
    oman_withheld: float | None = None
    bias: float | None = None
    chi2: float | None = None
    increment: float | None = None
    spread: float | None = None
    error_scale: float | None = None
    hydrostatic_ratio: float | None = None
    mass_ratio: float | None = None
    gradient_ratio: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {"time": np.datetime_as_string(self.time, unit="m") + "Z"}


SERIES_NAMES = {
    "used": "observations used",
    "rejected": "observations rejected",
    "ombg": "O−B, rms over the observation error (used)",
    "oman": "O−A, rms over the observation error (used)",
    "ombg_withheld": "O−B, rms over the observation error (withheld)",
    "oman_withheld": "O−A, rms over the observation error (withheld)",
    "bias": "O−B, mean over the observation error (used)",
    "chi2": "chi2 of O−B against the assumed errors",
    "increment": "rms increment of the leading field",
    "spread": "rms spread of the leading field",
    "error_scale": "factor on the background error, from the innovations",
    "hydrostatic_ratio": "residual of hydrostatic balance over the truth's or the background's",
    "mass_ratio": "residual of the column's mass over the truth's or the background's",
    "gradient_ratio": "departure from gradient wind over the truth's or the background's",
}
_RESIDUALS = ("hydrostatic", "mass", "gradient")


def moment_of(
    file: AnalysisFile | None,
    background: Fields | None,
    rows: pd.DataFrame | None,
    time: np.datetime64 | None = None,
    attributes: Mapping[str, Any] | None = None,
    ratios: Mapping[str, float | None] | None = None,
) -> Moment:
    """The numbers of one analysis and its feedback rows, with the ``ratios`` of
    :func:`physical_ratios`."""
    valid = file.fields.time if file is not None else time
    assert valid is not None
    found = {f"{name}_ratio": ratio for name, ratio in (ratios or {}).items()}
    if rows is not None:
        found |= _departures(rows)
    if file is not None and background is not None:
        found |= {"increment": _rms_of(file.fields, background), "spread": _rms_of(file.spread)}
    with suppress(json.JSONDecodeError):  # another program's attribute of this name says nothing
        stated = json.loads(str((attributes or {}).get("background_error_scale", "{}")))
        found["error_scale"] = stated.get("pooled") if isinstance(stated, dict) else None
    return Moment(valid, **found)  # type: ignore[arg-type]


def physical_ratios(
    analysis: Fields, background: Fields | None, truth: Fields | None
) -> dict[str, float | None]:
    """The rms of three residuals over the truth's, or without a truth over the background's; none
    without either. Raises InputError where nothing of the physics can be computed."""
    if background is None and truth is None:
        return {}
    report = assess(analysis, background, truth)
    return {
        s.equation: s.ratio
        for s in report.equations
        if s.equation in _RESIDUALS and s.level is None and s.band is None
    }


def _departures(rows: pd.DataFrame) -> dict[str, float | int | None]:
    qc = rows["EffectiveQC"].to_numpy()
    used, withheld = qc == QC.PASS, qc == QC.PASSIVE
    error = rows["EffectiveError"].to_numpy(float)
    before, after = (rows[k].to_numpy(float) for k in ("ombg", "oman"))
    total = before**2 / (error**2 + rows["hofx0_error"].to_numpy(float) ** 2)
    return {
        "used": int(used.sum()),
        "withheld": int(withheld.sum()),
        "rejected": int((qc > QC.PASSIVE).sum()),
        "ombg": _rms(before[used] / error[used]),
        "oman": _rms(after[used] / error[used]),
        "ombg_withheld": _rms(before[withheld] / error[withheld]),
        "oman_withheld": _rms(after[withheld] / error[withheld]),
        "bias": _mean(before[used] / error[used]),
        "chi2": _mean(total[used]),
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _rms(values: np.ndarray) -> float | None:
    square = _mean(values**2)
    return None if square is None else float(np.sqrt(square))


def _rms_of(fields: Fields | None, less: Fields | None = None) -> float | None:
    """Area-weighted root mean square of the leading field of ``fields`` (minus ``less``)."""
    if fields is None:
        return None
    values = _leading(fields)
    other = None if less is None else _leading(less)
    if values is None or (less is not None and (other is None or other.shape != values.shape)):
        return None
    square = (values - (0.0 if other is None else other)) ** 2
    weights = np.where(np.isfinite(square), fields.grid.point_weights, 0.0)
    if weights.sum() <= 0:
        return None
    return float(np.sqrt((weights * np.nan_to_num(square)).sum() / weights.sum()))


def _leading(fields: Fields) -> np.ndarray | None:
    if "z" in fields.upper:
        return np.asarray(fields.upper["z"][int(np.abs(fields.levels - 5e4).argmin())], float)
    for name in ("msl", "t2m"):
        if name in fields.surface:
            return np.asarray(fields.surface[name], float)
    every = [v[0] for v in fields.upper.values()] + list(fields.surface.values())
    return np.asarray(every[0], float) if every else None


def series_limits(moments: Sequence[Moment], last: int) -> dict[str, Limits]:
    """The control limits of every series from the ``last`` moments before the latest, of those
    that there are enough of."""
    before = moments[-last - 1 : -1]
    found = {name: control_limits([getattr(m, name) for m in before]) for name in SERIES_NAMES}
    return {name: limits for name, limits in found.items() if limits is not None}


@dataclass(frozen=True)
class Limits:
    """Median, and the bounds outside of which a value is unusual: three robust standard deviations
    from it."""

    median: float
    low: float
    high: float


def control_limits(values: Sequence[float | None], fewest: int = 5) -> Limits | None:
    """Limits from earlier ``values``, None where there are fewer than ``fewest``."""
    known = np.array([v for v in values if v is not None and np.isfinite(v)])
    if known.size < fewest:
        return None
    median = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - median)))
    spread = max(spread, 1e-3 * abs(median))
    return Limits(median, median - 3 * spread, median + 3 * spread)

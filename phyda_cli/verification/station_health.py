"""Stations over time: what they sent, how far off they are, and which are suspicious.

Departures are compared with what was expected of them, sqrt(sigma_o^2 + sigma_b^2). The thresholds
(:class:`~phyda_cli.settings.verification.StationThresholds`) are phyda's own choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.table import QC
from phyda_cli.settings.verification import StationThresholds
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.screen import number

__all__ = ["StationHistory", "StationRow", "blacklist_lines", "judge"]

DAYS = 5
_PRESSURES = ("msl", "sp", "qnh")
_PA_PER_M = 11.8  # of air near the surface
_CODES = (QC.TIME_WINDOW, QC.REPEATED, QC.DUPLICATE, QC.THINNED, QC.SUPEROBBED, QC.USED_BEFORE)
"""What happens to good reports too."""
_NOT_ITS_FAULT = (*_CODES, QC.H_FAILED)
"""What no station is suspected for, such as a wind of no steady direction."""


@dataclass(frozen=True)
class StationRow:
    """One station's reports of one variable, in its ``units``: ``expected`` reports by its own
    habit, those ``received`` and ``used``, statistics of O-B over all time and over the last five
    days, ``reasons`` to suspect it, and how many reports were rejected ``why``, in words."""

    station: str
    variable: str
    units: str
    latitude: float
    longitude: float
    elevation: float | None
    expected: int
    received: int
    used: int
    rejected: int
    mean: float | None
    std: float | None
    rms: float | None
    mean5: float | None
    std5: float | None
    z5: float | None
    last_seen: str
    reasons: tuple[str, ...] = ()
    why: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {"reasons": list(self.reasons)}


@dataclass(eq=False)
class _Sums:
    """Sums of one station and variable by day: reports, rejected ones, and of O-B where it counts:
    number, sum, squares, expected variance."""

    days: dict[int, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(8)))
    position: tuple[float, float, float] = (np.nan, np.nan, np.nan)
    last: np.datetime64 = field(default_factory=lambda: np.datetime64("1900-01-01", "ns"))
    positions: set[tuple[float, float]] = field(default_factory=set)
    why: Counter[str] = field(default_factory=Counter)


@dataclass(eq=False)
class StationHistory:
    """Sums by station, variable and day; nothing of the single reports is kept but the last value
    of each, by which twins are known."""

    rows: dict[tuple[str, str], _Sums] = field(default_factory=dict)
    times: list[np.datetime64] = field(default_factory=list)
    latest: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, time: np.datetime64, feedback: pd.DataFrame) -> None:
        """Add the feedback of the analysis at ``time``."""
        self.times.append(time)
        day = int(time.astype("datetime64[D]").astype(int))
        qc = feedback["EffectiveQC"].to_numpy()
        counted = ~np.isin(qc, _CODES)
        # Gross errors count at ten expected deviations: a lost sign must not hide the rest.
        error = np.where(
            np.isfinite(feedback["ObsError"]), feedback["ObsError"], feedback["EffectiveError"]
        ).astype(float)
        expected = np.sqrt(error**2 + np.nan_to_num(feedback["hofx0_error"].to_numpy(float)) ** 2)
        raw = feedback["ombg"].to_numpy(float)
        if "ObsBias" in feedback:  # subtracted by the memory of biases, and still the station's
            raw = raw + feedback["ObsBias"].to_numpy(float)
        ombg = np.clip(raw, -10 * expected, 10 * expected)
        good = counted & np.isfinite(ombg)
        table = pd.DataFrame(
            {
                "station": feedback["station_id"].to_numpy(object),
                "variable": feedback["variable"].to_numpy(object),
                "received": counted.astype(float),
                "used": (qc == QC.PASS).astype(float),
                "rejected": (~np.isin(qc, _NOT_ITS_FAULT) & (qc > QC.PASSIVE)).astype(float),
                "n": good.astype(float),
                "sum": np.where(good, ombg, 0),
                "square": np.where(good, ombg**2, 0),
                "expected": np.where(good, expected**2, 0),
                "slot": np.ones(len(feedback)),
            }
        )
        sums = table.groupby(["station", "variable"], sort=False).sum(numeric_only=True)
        first = feedback.drop_duplicates(["station_id", "variable"], keep="last")
        where = first.set_index(["station_id", "variable"])
        for (station, variable), values in zip(sums.index, sums.to_numpy(), strict=True):
            row = where.loc[(station, variable)]
            own = self.rows.setdefault((str(station), str(variable)), _Sums())
            values = values.copy()
            values[-1] = 1.0
            own.days[day][: values.size] += values
            own.position = float(row["latitude"]), float(row["longitude"]), float(row["elevation"])
            own.positions.add((round(own.position[0], 1), round(own.position[1], 1)))
            own.last = max(own.last, np.datetime64(row["time"], "ns"))
            self.latest[str(station), str(variable)] = float(row["ObsValue"])
        lost = feedback[counted & (qc > QC.PASSIVE)]
        keys = lost.groupby(["station_id", "variable", "EffectiveQC"], sort=False).size()
        for (station, variable, code), n in keys.items():
            self.rows[str(station), str(variable)].why[QC(int(code)).meaning] += int(n)


def judge(history: StationHistory, limits: StationThresholds) -> list[StationRow]:
    """Every station and variable, the suspicious ones first."""
    if not history.times:
        return []
    end = max(history.times)
    last_day = int(end.astype("datetime64[D]").astype(int))
    twins = _twins(history, limits.twins_km)
    found = []
    for (station, variable), own in history.rows.items():
        days = np.array(list(own.days))
        table = np.array(list(own.days.values()))
        total = table.sum(axis=0)
        recent = table[days > last_day - DAYS].sum(axis=0)
        received, used, rejected, _, _, _, _, slots = total
        first = days.min()
        expected = sum(t.astype("datetime64[D]").astype(int) >= first for t in history.times)
        mean, std, rms = _statistics(total)
        mean5, std5, _ = _statistics(recent)
        typical = float(np.sqrt(recent[6] / recent[3])) if recent[3] else None
        z5 = mean5 / typical if mean5 is not None and typical else None
        reasons = []
        if recent[3] >= limits.fewest and typical and mean5 is not None and std5 is not None:
            if abs(mean5) > limits.bias * typical:
                reasons.append(_bias(variable, mean5, limits.height_m))
            if std5 > limits.spread * typical:
                reasons.append(f"O−B varies by {std5 / typical:.1f} times what is expected")
        if received >= limits.fewest and rejected / received > limits.rejected:
            reasons.append(f"{rejected:.0f} of {received:.0f} rejected")
        if expected >= limits.fewest and slots < (1 - limits.missing) * expected:
            reasons.append(f"{expected - slots:.0f} of {expected} reports missing")
        if (
            len(own.positions) > 1
            and max(_apart(p, q) for p in own.positions for q in own.positions) > 20
        ):
            reasons.append("the same name at places apart: a ship, or two stations")
        if (station, variable) in twins:
            reasons.append(f"same place and values as {twins[station, variable]}")
        latitude, longitude, elevation = own.position
        found.append(
            StationRow(
                station,
                variable,
                OBSERVABLES[variable].units if variable in OBSERVABLES else "",
                latitude,
                longitude,
                elevation if np.isfinite(elevation) else None,
                int(expected),
                int(received),
                int(used),
                int(rejected),
                mean,
                std,
                rms,
                mean5,
                std5,
                z5,
                np.datetime_as_string(own.last, unit="m") + "Z",
                tuple(reasons),
                dict(own.why.most_common()),
            )
        )
    found.sort(key=lambda r: (not r.reasons, -abs(r.z5 or 0.0), r.station, r.variable))
    return found


def _statistics(sums: np.ndarray) -> tuple[float | None, float | None, float | None]:
    n, total, square = sums[3:6]
    if n == 0:
        return None, None, None
    mean = total / n
    std = float(np.sqrt(max(square / n - mean**2, 0.0) * n / (n - 1))) if n > 1 else None
    return float(mean), std, float(np.sqrt(square / n))


def _bias(variable: str, mean: float, height_m: float) -> str:
    own = OBSERVABLES[variable].units if variable in OBSERVABLES else ""
    units, factor = READABLE.get(own, (own, 1.0))
    text = f"O−B {number(mean * factor, '+.3g')} {units} over five days"
    if variable in _PRESSURES and abs(mean) / _PA_PER_M >= height_m:
        text += f" (height wrong by {abs(mean) / _PA_PER_M:.0f} m?)"
    return text


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance [km] of two points given as latitude and longitude."""
    la, lo, lb, mo = np.deg2rad([a[0], a[1], b[0], b[1]])
    h = np.sin((lb - la) / 2) ** 2 + np.cos(la) * np.cos(lb) * np.sin((mo - lo) / 2) ** 2
    return float(2 * EARTH_RADIUS / 1000 * np.arcsin(np.sqrt(min(h, 1.0))))


def _twins(history: StationHistory, near_km: float) -> dict[tuple[str, str], str]:
    """Stations that report the same value as another one close by."""
    by_value: dict[tuple[str, float], list[str]] = defaultdict(list)
    for (station, variable), value in history.latest.items():
        if np.isfinite(value):
            by_value[variable, value].append(station)
    found = {}
    for (variable, _), stations in by_value.items():
        if not 2 <= len(stations) <= 50:
            continue
        for a in stations:
            for b in stations:
                p, q = (history.rows[s, variable].position[:2] for s in (a, b))
                if a != b and _apart(p, q) <= near_km:
                    found[a, variable] = b
    return found


def blacklist_lines(rows: list[StationRow]) -> list[str]:
    """Lines that ``--blacklist`` takes, each with its reason as a comment."""
    lines = []
    for row in rows:
        if row.reasons and not any("missing" in r and len(row.reasons) == 1 for r in row.reasons):
            lines.append(f"{row.station} {row.variable}  # {'; '.join(row.reasons)}")
    return lines

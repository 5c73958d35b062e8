"""What the stations of an observing network would report of known fields: the observation operators
of the analysis, with random errors on top."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from phyda_cli.analysis.departures import static_orography
from phyda_cli.errors import NoObservationsError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import present_levels
from phyda_cli.formats.by_time import FieldsByTime, span_of
from phyda_cli.formats.inputs import FieldInput
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.operator_rows import EXTRAPOLATION
from phyda_cli.observations.operators import build_operator, operator_check
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.surface_air import with_specific_humidity
from phyda_cli.observations.table import LEVEL, QC, concat
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.simulation.network_file import ObservingNetwork

__all__ = ["SimulatedReports", "simulate_files", "simulate_reports", "standard_errors"]

_NEEDS = {
    "wind_speed": ("u10", "u"),
    "thickness": ("z",),
    "tcwv": ("q",),
    "q2m": ("q2m", "q"),
    "sp": ("sp", "msl"),
}
"""The fields that a variable follows from, one of them; of other variables it is their own."""
_KEY = ("station_id", "time", "latitude", "longitude", "variable", *LEVEL)


@dataclass(frozen=True, eq=False)
class SimulatedReports:
    """``table`` are the observations, ready for the analysis; ``left_out`` are the rows of the
    network without one, with the ``reason``. ``clipped`` values are at the edge of their plausible
    range, such as humidity at zero: their error would have taken them beyond."""

    table: pd.DataFrame
    left_out: pd.DataFrame
    clipped: int = 0

    def account(self) -> dict[str, Any]:
        """Counts ``in`` = ``simulated`` + those of each reason, by variable and in all; and
        ``left_out`` with the stations of every reason and variable."""
        names = sorted({*self.table["variable"], *self.left_out["variable"]})
        of = {n: [t[t["variable"] == n] for t in (self.table, self.left_out)] for n in names}
        groups = self.left_out.groupby(["reason", "variable"], sort=True)
        return {
            **_count(self.table, self.left_out),
            "clipped": self.clipped,
            "variables": {name: _count(*pair) for name, pair in of.items()},
            "left_out": [
                {
                    "reason": reason,
                    "variable": variable,
                    "observations": len(rows),
                    "stations": sorted(rows["station_id"].unique().tolist()),
                }
                for (reason, variable), rows in groups
            ],
        }


def _count(table: pd.DataFrame, left_out: pd.DataFrame) -> dict[str, Any]:
    reasons = left_out["reason"].value_counts().sort_index()
    return {
        "in": len(table) + len(left_out),
        "simulated": len(table),
        "stations": int(table["station_id"].nunique()),
        "reasons": {str(reason): int(n) for reason, n in reasons.items()},
    }


def simulate_files(
    files: Sequence[FieldInput],
    network: ObservingNetwork,
    checkpoint: Checkpoint,
    controls: QualityControlSettings,
    seed: int | None,
    times: Sequence[np.datetime64] = (),
    member: int | None = None,
) -> SimulatedReports:
    """:func:`simulate_reports` of the fields in ``files`` at ``times``, or at all that they have;
    of an ensemble those of ``member``. A file that states no time is read as valid at the only one
    of ``times``.

    Raises InputError where two files hold one time, UsageError for a time that none has.
    """
    source = FieldsByTime("field", files, alone=len(times) == 1, member=member)
    lacking = [t for t in times if source.times and t not in source.times]
    if lacking:
        raise UsageError(
            f"no field is valid at {span_of(lacking)}; the files hold {source.span}",
            hint="leave --times out to observe every time",
        )
    parts = []
    for time in sorted(times or source.times):
        fields = source.at(time)
        assert fields is not None
        parts.append(simulate_reports(fields, network, checkpoint, controls, seed))
    return SimulatedReports(
        concat([p.table for p in parts]),
        pd.concat([p.left_out for p in parts], ignore_index=True),
        sum(p.clipped for p in parts),
    )


def simulate_reports(
    fields: Fields,
    network: ObservingNetwork,
    checkpoint: Checkpoint,
    controls: QualityControlSettings,
    seed: int | None,
) -> SimulatedReports:
    """What ``network`` reports of ``fields`` at their time, with errors drawn with ``seed``, or
    without errors where there is none.

    Each row gets the error that it states, or the one that the analysis would give it by
    ``controls``, as the standard deviation of a normal distribution. The checks of the analysis
    that need no background are made, so that it takes what is left. Raises NoObservationsError
    where nothing is.
    """
    fields = with_specific_humidity(fields)
    table = network.rows.assign(time=fields.time.astype("datetime64[ns]"))
    statics = static_orography(checkpoint, fields)
    operator = build_operator(fields, table, statics, controls.height_limit_m)
    exact = np.nan_to_num(operator.of(fields))
    table = operator_check(table.assign(value=exact), operator)
    everything = {"repeats": "all", "withhold": 0.0, "stuck_hours": None}
    table = prepare(table, fields, settings=controls.model_copy(update=everything))
    good = (table["qc"] <= QC.PASSIVE).to_numpy()
    lost = table[~good]
    lost = lost.assign(reason=_reasons(lost, fields))
    if not good.any():
        why = "; ".join(f"{n} {reason}" for reason, n in lost["reason"].value_counts().items())
        raise NoObservationsError(
            f"the network {network.path} observes nothing of the fields of "
            f"{np.datetime_as_string(fields.time, unit='m')}Z: {why}",
            hint="look at the positions, levels and variables of the network",
        )
    table = table[good].reset_index(drop=True)
    clipped = 0
    if seed is not None:
        value = table["value"] + table["error"] * standard_errors(table, seed)
        ranges = [OBSERVABLES[name].valid_range for name in table["variable"]]
        low, high = np.array(ranges).T
        clipped = int(((value < low) | (value > high)).sum())
        table = table.assign(value=np.clip(value, low, high))
    return SimulatedReports(table, lost, clipped)


def standard_errors(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Independent draws (P,) from the standard normal distribution. That of a row depends on the
    ``seed`` and on the row's own station, time, place, variable and level alone: two networks that
    share a station share its errors, and differ by the other stations."""
    own = table.assign(time=table["time"].astype(np.int64))
    keys = zip(*(own[name].tolist() for name in _KEY), strict=True)
    return np.array([_draw(f"{seed}: {key}") for key in keys])


def _draw(key: str) -> float:
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
    return float(ndtri(((number >> 12) + 0.5) / 2**52))


def _reasons(table: pd.DataFrame, fields: Fields) -> list[str]:
    """Why each row of ``table`` has no observation."""
    return [_reason(QC(row.qc), row, fields) for row in table.itertuples()]


def _reason(code: QC, row: Any, fields: Fields) -> str:
    if code == QC.DOMAIN:
        return "outside the area of the fields"
    if code != QC.H_FAILED:
        return code.meaning
    sources = _NEEDS.get(row.variable, (row.variable,))
    if not any(name in fields.upper or name in fields.surface for name in sources):
        return "no such variable in the fields"
    if row.variable == "sp" and np.isnan(row.elevation):
        return "the elevation of the station is unknown"
    if row.variable in fields.upper and np.isfinite(row.pressure):
        levels = fields.levels[present_levels(fields, row.variable)]
        if not levels.min() * 0.999 <= row.pressure <= levels.max() * EXTRAPOLATION:
            return "beyond the levels of the fields"
    return "below the ground of the fields, or missing there"

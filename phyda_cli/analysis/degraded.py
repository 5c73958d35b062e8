"""What degrades an analysis: inputs that are poorer than they should be.

A degraded analysis is the best there is of what came in. The verdict (:mod:`.verdict`) is another
thing: it asks whether the result can be trusted. The limits are ours.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.earth import unit_vectors
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.state import StateSpec
from phyda_cli.observations.table import QC, by_position
from phyda_cli.settings.analysis import DegradedSettings

__all__ = [
    "constant_fields",
    "degradations",
    "few_observations",
    "missing_planes",
    "swapped_winds",
    "two_places",
]

AGAINST_BACKGROUND = (
    QC.PASS,
    QC.PASSIVE,
    QC.FIRST_GUESS,
    QC.BUDDY,
    QC.SPATIAL,
    QC.PARTNER,
)
WINDS = (("u", "v"), ("u10", "v10"))
FEWEST_WINDS = 10
JITTER_KM = 25.0  # two networks give the same station a little apart
FASTEST = 0.03  # km/s, of a ship
_REPORT = ["station_id", "time", "latitude", "longitude", "pressure", "height"]


def degradations(
    background: Fields,
    spec: StateSpec,
    table: pd.DataFrame,
    hofx0: np.ndarray,
    settings: DegradedSettings,
) -> list[str]:
    """Why the analysis of ``background`` with the controlled observations of ``table`` is degraded;
    most often empty. ``hofx0`` (P,) is the background at the rows."""
    lead = background.lead_hours
    found = [
        *missing_planes(background, spec),
        *constant_fields(background),
        *few_observations(table),
        *two_places(table),
        *swapped_winds(table, hofx0),
    ]
    if lead > settings.longest_lead_hours:
        found.append(f"the background is a forecast of {lead / 24:.3g} days")
    return found


def missing_planes(background: Fields, spec: StateSpec) -> list[str]:
    """Levels that a variable of the model should have and does not: those of the other variables
    and, if the background has most of them, those of the model.

    What counts is a gap between levels of the variable, or the one level that is missing at an end:
    several at an end, or most of them, are a background that is made so.
    """
    model = np.array(sorted({c.pressure for c in spec.channel_list if c.pressure is not None}))
    own, known = background.levels, {c.variable for c in spec.channel_list}
    shared = np.isclose(model[:, None], own[None, :], rtol=2e-3).any(axis=1)
    others = model[~shared] if shared.sum() * 2 > shared.size else model[:0]
    levels = np.concatenate([own, others])
    absent: dict[float, list[str]] = {}
    upper = {k: v for k, v in background.upper.items() if k in known}
    for name, values in upper.items():
        has = np.append(~np.isnan(values).all(axis=(1, 2)), np.zeros(others.size, bool))
        if has.sum() * 2 <= has.size:
            continue
        inside = (levels > levels[has].min()) & (levels < levels[has].max())
        for level in levels[~has & (inside | ((~has).sum() == 1))]:
            absent.setdefault(float(level), []).append(name)
    return [
        f"{'every variable' if len(names) == len(upper) else ', '.join(names)} "
        f"is missing at {level / 100:g} hPa"
        for level, names in sorted(absent.items())
    ]


def constant_fields(background: Fields) -> list[str]:
    """Fields with one value everywhere; humidity may be zero high up."""
    found = []
    for name, values in background.upper.items():
        for plane, p in zip(values, background.levels, strict=True):
            if name != "q" and _constant(plane):
                found.append(f"{name} is the same everywhere at {p / 100:g} hPa")
    names = (k for k in background.surface if k not in ("orography", "lsm"))
    return found + [
        f"{k} is the same everywhere" for k in names if _constant(background.surface[k])
    ]


def _constant(plane: np.ndarray) -> bool:
    known = plane[np.isfinite(plane)]
    return known.size > 1 and bool((known == known[0]).all())


def few_observations(table: pd.DataFrame) -> list[str]:
    """One observation, or observations of one type only; wind is one type."""
    used = table.loc[table["qc"] == QC.PASS, "variable"]
    if len(used) == 1:
        return ["only one observation is used"]
    types = set(used.replace({"u": "wind", "v": "wind", "u10": "10 m wind", "v10": "10 m wind"}))
    return [f"only {types.pop()} is observed"] if len(types) == 1 else []


def two_places(table: pd.DataFrame) -> list[str]:
    """Surface stations whose reports in the window lie further apart than a ship gets."""
    aloft = table["pressure"].notna() | table["height"].notna()
    rows = table[~aloft & (table["qc"] <= QC.PASSIVE)]
    rows = rows.drop_duplicates(["station_id", "time", "latitude", "longitude"])
    rows = rows[rows["station_id"].duplicated(keep=False)]
    places = [rows[n].to_numpy() for n in ("station_id", "latitude", "longitude")]
    rows = rows.assign(name=by_position(*places)).sort_values(["name", "time"], kind="stable")
    name, time = rows["name"].to_numpy(object), rows["time"].to_numpy()
    position = unit_vectors(rows["latitude"].to_numpy(), rows["longitude"].to_numpy())
    km = EARTH_RADIUS / 1000 * np.linalg.norm(np.diff(position, axis=0), axis=1)
    seconds = np.diff(time) / np.timedelta64(1, "s")
    apart = (name[1:] == name[:-1]) & (km > JITTER_KM + FASTEST * seconds)
    stations = sorted(set(name[1:][apart]))
    if not stations:
        return []
    shown = ", ".join(stations[:3]) + (" and others" if len(stations) > 3 else "")
    return [f"{len(stations)} stations report from two places: {shown}"]


def swapped_winds(table: pd.DataFrame, hofx0: np.ndarray) -> list[str]:
    """Winds that fit the background twice as well in mean square with u and v exchanged."""
    rows = table.assign(background=hofx0)[np.isin(table["qc"], AGAINST_BACKGROUND)]
    rows = rows[np.isfinite(rows["background"])]
    found = []
    for east, north in WINDS:
        both = rows[rows["variable"] == east].merge(
            rows[rows["variable"] == north], on=_REPORT, suffixes=("_u", "_v")
        )
        if len(both) < FEWEST_WINDS:
            continue
        as_is = _square(both, "u", "u") + _square(both, "v", "v")
        exchanged = _square(both, "u", "v") + _square(both, "v", "u")
        if exchanged < 0.5 * as_is:
            found.append(f"{east} and {north} look exchanged, in observations or background")
    return found


def _square(both: pd.DataFrame, observed: str, of_background: str) -> float:
    return float(((both[f"value_{observed}"] - both[f"background_{of_background}"]) ** 2).sum())

"""The feedback file: every observation with its fate and its departures, CF point features under
JEDI's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd

from phyda_cli import cf
from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.files.readable import check_input
from phyda_cli.files.worker import apart
from phyda_cli.formats.classic import reject_truncated
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.bias import Memory
from phyda_cli.observations.table import QC

__all__ = [
    "Feedback",
    "read_feedback",
    "read_memory",
    "refuse_csv",
    "rejected",
    "write_feedback",
]

_MODEL_CODES = (
    QC.H_FAILED,
    QC.THINNED,
    QC.DIFF_REF,
    QC.FIRST_GUESS,
    QC.BUDDY,
    QC.REPEATED,
    QC.SUPEROBBED,
    QC.PARTNER,
    QC.USED_BEFORE,
    QC.SPATIAL,
)
_MEMORY = "StationBias"
_MEMORY_NUMBERS = {
    "mean": "running mean of observation minus background, in the variable's units",
    "weight": "inverse of the variance of the mean, in the variable's units to the power of -2",
    "reports": "number of reports, old ones discounted",
}
_EPOCH = np.datetime64("1970-01-01", "ns")

_COORDINATES: dict[str, dict[str, str]] = {
    "time": cf.TIME | cf.CALENDAR | {"units": "seconds since 1970-01-01 00:00:00"},
    "latitude": cf.LATITUDE,
    "longitude": cf.LONGITUDE,
    "elevation": {
        "standard_name": "surface_altitude",
        "units": "m",
        "long_name": "elevation of the station",
    },
    "pressure": cf.PRESSURE,
    "pressure_top": {
        "standard_name": "air_pressure",
        "long_name": "top of a layer, bottom at pressure",
        "units": "Pa",
        "positive": "down",
    },
    "height": {"standard_name": "altitude", "units": "m", "positive": "up"},
}
_VALUES = {
    "ObsValue": "observed value",
    "ObsError": "standard deviation of the observation error, given or default",
    "EffectiveError": "standard deviation of the observation error as used, missing where the "
    "observation is rejected",
    "hofx0": "background in observation space",
    "hofx1": "analysis in observation space",
    "ombg": "observation minus background",
    "oman": "observation minus analysis",
    "hofx0_error": "standard deviation of the background error in observation space",
}
_AS_USED = {
    "DerivedObsValue": "value as used: the observed one, or that of the superobservation it "
    "stands for",
    "ObsBias": "bias of the station as the memory knows it, subtracted before ombg and oman",
    "VarQCWeight": "weight under the robust norm, 1 at most; EffectiveError holds it already",
    "hofx0_corrected": "background in observation space after the correction of its mean error, "
    "which the analysis started from",
}
_TEXTS = {
    "station_id": "station identifier",
    "variable": "observed variable",
    "units": "units of the values",
    "source_file": "file the observation came from",
}

_INTEGERS = {
    "PreQC": ("i2", "quality control before the model"),
    "EffectiveQC": ("i2", "final quality control"),
    "use": ("i1", "1 to be assimilated, 0 passive"),
    "superob_size": ("i4", "number of observations that this one stands for"),
    "source_row": ("i8", "line (text) or message (BUFR) in source_file, from 1"),
}

_REQUIRED = (*_COORDINATES, *_VALUES, *_TEXTS, "PreQC", "EffectiveQC", "use", "source_row")


@dataclass(frozen=True, eq=False, kw_only=True)
class Feedback:
    """Observations with what an analysis made of them, arrays (P,) in the rows' units.

    ``table`` carries the final codes. ``hofx0`` and ``hofx1`` are the background and the analysis
    at the observations, ``corrected`` the background after the correction of its mean error where
    there is one; ``sigma_b`` is the standard deviation of the background's error. The analysis took
    a row with the ``innovation`` and the ``error`` (which holds the robust ``weight``) of the
    ``merged`` rows that it stands for, from which the station's ``bias`` was subtracted where there
    was a memory of it; ``memory`` is what is known of biases now.
    """

    table: pd.DataFrame
    hofx0: np.ndarray
    hofx1: np.ndarray
    sigma_b: np.ndarray
    innovation: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    merged: np.ndarray
    corrected: np.ndarray | None = None
    bias: np.ndarray | None = None
    memory: Memory | None = None

    @classmethod
    def as_observed(
        cls, table: pd.DataFrame, hofx0: np.ndarray, hofx1: np.ndarray, sigma_b: np.ndarray
    ) -> Feedback:
        """Every row for itself, with its own error."""
        return cls(
            table=table,
            hofx0=hofx0,
            hofx1=hofx1,
            sigma_b=sigma_b,
            innovation=table["value"].to_numpy() - hofx0,
            error=table["error"].to_numpy(),
            weight=np.ones(len(table)),
            merged=np.ones(len(table), int),
        )

    @property
    def unbiased(self) -> np.ndarray:
        """The values (P,) without the biases that are known."""
        value = self.table["value"].to_numpy()
        return np.asarray(value if self.bias is None else value - self.bias)

    def numbers(self) -> dict[str, np.ndarray]:
        """The columns of numbers (P,) under their names in the file."""
        passes = (self.table["qc"] <= QC.PASSIVE).to_numpy()
        value = self.table["value"].to_numpy()
        start = self.hofx0 if self.corrected is None else self.corrected
        found = {
            "ObsValue": value,
            "ObsError": self.table["error"].to_numpy(),
            "EffectiveError": np.where(passes, self.error, np.nan),
            "hofx0": self.hofx0,
            "hofx1": self.hofx1,
            "ombg": self.unbiased - self.hofx0,
            "oman": self.unbiased - self.hofx1,
            "hofx0_error": self.sigma_b,
            "DerivedObsValue": np.where(passes, start + self.innovation, np.nan),
            "VarQCWeight": np.where(passes, self.weight, np.nan),
        }
        known = {"hofx0_corrected": self.corrected, "ObsBias": self.bias}
        return found | {name: values for name, values in known.items() if values is not None}

    def frame(self) -> pd.DataFrame:
        """The rows as :func:`read_feedback` gives them."""
        table = self.table
        units = table["variable"].map({k: v.units for k, v in OBSERVABLES.items()})
        texts = zip(
            _TEXTS, (table["station_id"], table["variable"], units, table["file"]), strict=True
        )
        qc = table["qc"].to_numpy()
        return pd.DataFrame(
            {name: table[name].to_numpy() for name in _COORDINATES}
            | self.numbers()
            | {name: column.to_numpy(object) for name, column in texts}
            | {
                "PreQC": np.where(np.isin(qc, (*_MODEL_CODES, QC.PASSIVE)), 0, qc),
                "EffectiveQC": qc,
                "use": table["use"].to_numpy(),
                "superob_size": self.merged,
                "source_row": table["row"].to_numpy(),
            }
        )


def write_feedback(
    path: Path,
    feedback: Feedback,
    attributes: Mapping[str, str | int | float],
    overwrite: bool = False,
) -> None:
    """Write ``feedback``, its rows in their order.

    PreQC is the code given before the model and other reports were consulted, EffectiveQC the final
    one. A ``path`` that ends in ``.csv`` gets the same rows as text. Raises OutputError.
    """
    numbers, rows = feedback.numbers(), feedback.frame()
    if path.suffix.lower() == ".csv":
        shown = [*_TEXTS, *_COORDINATES, *numbers, "EffectiveQC", "source_row"]
        with publish(path, overwrite) as temporary:
            _with_reasons(rows[shown]).to_csv(temporary, index=False)
        return
    with publish(path, overwrite) as temporary, netCDF4.Dataset(temporary, "w") as data:
        data.setncatts(
            {
                "Conventions": cf.CONVENTIONS,
                "featureType": "point",
                "title": "Observations and their departures from the analysis",
            }
        )
        data.setncatts(dict(attributes))
        data.createDimension("obs", None)
        for name, attrs in _COORDINATES.items():
            _number(data, name, _seconds(rows["time"]) if name == "time" else rows[name], attrs)
        for name, long_name in (_VALUES | _AS_USED).items():
            if name not in numbers:
                continue
            extra = {"ancillary_variables": "EffectiveQC"} if name == "ObsValue" else {}
            _number(
                data,
                name,
                numbers[name],
                {"long_name": long_name, "coordinates": " ".join(_COORDINATES), **extra},
            )
        for name, long_name in _TEXTS.items():
            _text(data, name, rows[name], long_name)
        for name, (kind, long_name) in _INTEGERS.items():
            _integer(data, name, rows[name], kind, long_name, flags=name.endswith("QC"))
        if feedback.memory is not None:
            _write_memory(data.createGroup(_MEMORY), feedback.memory)


def _write_memory(group: netCDF4.Group, memory: Memory) -> None:
    """``memory`` in a group of its own, with a row for each station and variable."""
    group.long_name = "what is known of the biases of stations, for the next analysis"
    group.time = str(memory.time)
    group.createDimension("obs", None)
    for name in ("station_id", "variable"):
        _text(group, name, memory.table[name], _TEXTS[name])
    for name, long_name in _MEMORY_NUMBERS.items():
        _number(group, name, memory.table[name], {"long_name": long_name})


@apart()
def read_memory(path: Path) -> Memory | None:
    """What the feedback file ``path`` knows of the biases of stations; None where it is without
    such a memory. Raises InputError."""
    try:
        with netCDF4.Dataset(path) as data:
            if _MEMORY not in data.groups:
                return None
            group = data[_MEMORY]
            group.set_auto_mask(False)
            columns = {n: _words(group[n]) for n in ("station_id", "variable")}
            columns |= {n: group[n][:] for n in _MEMORY_NUMBERS}
            return Memory(np.datetime64(group.time, "ns"), pd.DataFrame(columns))
    except Exception as error:  # of a damaged file netCDF4 raises many kinds
        raise InputError(f"cannot read the memory of biases in {path}: {error}") from error


_LACKING = {  # raw values that are left where what they need is not there
    **dict.fromkeys(("qnh", "sp"), "the station has no elevation"),
    "wind_speed": "the report has no direction",
    "wind_direction": "the report has no speed",
    **dict.fromkeys(("rh2m", "r"), "no temperature is known there"),
    **dict.fromkeys(("tv2m", "tv"), "no humidity is known there"),
}


def _with_reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the ``reason`` of each code; without a model equivalent, what is lacking. A
    speed that could be compared lacks no more than its direction."""
    speed, pressure = (rows["variable"] == name for name in ("wind_speed", "sp"))
    unknown = (speed & rows["ombg"].isna()) | (pressure & rows["elevation"].notna())
    known = (rows["EffectiveQC"] == QC.H_FAILED) & ~unknown & rows["variable"].isin(list(_LACKING))
    named = zip(rows["EffectiveQC"], rows["variable"], known, strict=True)
    return rows.assign(
        reason=[
            QC(int(code)).meaning + (f": {_LACKING[name]}" if lacks else "")
            for code, name, lacks in named
        ]
    )


def rejected(path: Path) -> pd.DataFrame:
    """The rows of the feedback file ``path`` that were neither used nor passive, each with the
    ``reason``; longitudes within -180..180. Raises InputError."""
    rows = read_feedback(path)
    shown = [
        *("station_id", "time", "latitude", "longitude", "elevation", "variable", "pressure"),
        *("height", "ObsValue", "units", "ombg", "EffectiveQC", "source_file", "source_row"),
    ]
    found = _with_reasons(rows.loc[rows["EffectiveQC"] > QC.PASSIVE, shown])
    return found.assign(longitude=(found["longitude"] + 180) % 360 - 180)


def _seconds(time: pd.Series) -> np.ndarray:
    values = time.to_numpy()
    return np.where(np.isnat(values), np.nan, (values - _EPOCH) / np.timedelta64(1, "s"))


def _variable(
    data: netCDF4.Dataset,
    name: str,
    kind: str,
    values: np.ndarray,
    dimensions: tuple[str, ...] = ("obs",),
    **other: Any,
) -> Any:
    chunks = (max(1, min(len(values), 65536)), *values.shape[1:])
    variable = data.createVariable(
        name, kind, dimensions, compression="zlib", complevel=1, chunksizes=chunks, **other
    )
    variable.set_auto_chartostring(False)
    if len(values):
        variable[:] = values
    return variable


def _number(data: netCDF4.Dataset, name: str, values: Any, attributes: Mapping[str, str]) -> None:
    _variable(data, name, "f8", np.asarray(values, float), fill_value=np.nan).setncatts(
        dict(attributes)
    )


def _integer(
    data: netCDF4.Dataset, name: str, values: Any, kind: str, long_name: str, flags: bool = False
) -> None:
    variable = _variable(data, name, kind, np.asarray(values))
    variable.long_name = long_name
    if flags:
        variable.flag_values = np.array([int(q) for q in QC], kind)
        variable.flag_meanings = " ".join(q.meaning.replace(" ", "_").replace("'", "") for q in QC)


def _text(data: netCDF4.Dataset, name: str, values: pd.Series, long_name: str) -> None:
    codes, distinct = pd.factorize(
        values.to_numpy(object)
    )  # a million rows repeat a few thousand words
    words = np.array([str(word).encode("utf-8", "backslashreplace") for word in distinct] or [b""])
    width = max(words.dtype.itemsize, 1)
    letters = words.astype(f"S{width}").view("S1").reshape(words.size, width)[codes]
    data.createDimension(f"{name}_length", width)
    variable = _variable(data, name, "S1", letters, ("obs", f"{name}_length"))
    variable.setncatts({"long_name": long_name, "_Encoding": "utf-8"})


def _words(variable: netCDF4.Variable) -> np.ndarray:
    variable.set_auto_chartostring(False)
    letters = np.ascontiguousarray(variable[:])
    codes, distinct = pd.factorize(letters.view(f"S{letters.shape[1]}").ravel().astype(object))
    return (
        np.array([word.decode() for word in distinct], object)[codes]
        if len(letters)
        else np.array([], object)
    )


def _columns(data: netCDF4.Dataset, path: Path) -> dict[str, np.ndarray]:
    absent = [name for name in _REQUIRED if name not in data.variables]
    if absent:
        raise InputError(
            f"{path} is no feedback file: it has no {', '.join(absent)}; found: "
            f"{', '.join(data.variables)}"
        )
    data.set_auto_mask(False)
    return {
        name: _words(v) if v.dtype == "S1" else v[:]
        for name, v in data.variables.items()
        if v.dimensions[:1] == ("obs",)
    }


@apart()
def read_feedback(path: Path | pd.DataFrame) -> pd.DataFrame:
    """The rows of a feedback file under its own variable names; such rows in memory are returned.
    Raises InputError when ``path`` is none, is damaged or holds variables that phyda does not
    know."""
    if isinstance(path, pd.DataFrame):
        return _checked(path)
    check_input(path)
    refuse_csv(path)
    reject_truncated(path, str(path))
    try:
        with netCDF4.Dataset(path) as data:
            columns = _columns(data, path)
    except InputError:
        raise
    except Exception as error:  # of a damaged file netCDF4 raises many kinds
        raise InputError(
            f"cannot read feedback file {path}: {error}",
            hint="is it damaged? Make it again with --feedback",
        ) from error
    foreign = sorted(set(columns["variable"]) - set(OBSERVABLES))
    if foreign:
        raise InputError(
            f"feedback file {path} has unknown variables: {', '.join(map(repr, foreign[:5]))}",
            hint=f"expected {', '.join(OBSERVABLES)}",
        )
    seconds = columns["time"]
    known = np.nan_to_num(np.round(seconds * 1e6)).astype("timedelta64[us]")
    columns["time"] = np.where(np.isnan(seconds), np.datetime64("NaT"), _EPOCH + known).astype(
        "datetime64[ns]"
    )
    return pd.DataFrame(columns)


def refuse_csv(path: Path) -> None:
    """Raise InputError where ``path`` is a feedback written as CSV, which people read."""
    if path.suffix.lower() == ".csv":
        raise InputError(
            f"{path}: a feedback in CSV is not read",
            hint=f"make it again with --feedback {path.with_suffix('.nc').name}",
        )


def _checked(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in memory, when they are those of a feedback."""
    absent = [name for name in _REQUIRED if name not in rows]
    if absent:
        raise InputError(
            f"the table is no feedback: it has no {', '.join(absent)}",
            hint="give the feedback of an analysis",
        )
    return rows

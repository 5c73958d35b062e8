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

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.table import QC

__all__ = ["AsUsed", "read_feedback", "write_feedback"]

_MODEL_CODES = (
    QC.H_FAILED,
    QC.THINNED,
    QC.DIFF_REF,
    QC.FIRST_GUESS,
    QC.BUDDY,
    QC.REPEATED,
    QC.SUPEROBBED,
    QC.PARTNER,
)
_EPOCH = np.datetime64("1970-01-01", "ns")

_COORDINATES: dict[str, dict[str, str]] = {
    "time": {
        "standard_name": "time",
        "units": "seconds since 1970-01-01 00:00:00",
        "calendar": "standard",
        "axis": "T",
    },
    "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
    "elevation": {
        "standard_name": "surface_altitude",
        "units": "m",
        "long_name": "elevation of the station",
    },
    "pressure": {"standard_name": "air_pressure", "units": "Pa", "positive": "down", "axis": "Z"},
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
    "VarQCWeight": "weight under the robust norm, 1 at most; EffectiveError holds it already",
}
_TEXTS = {
    "station_id": "station identifier",
    "variable": "observed variable",
    "units": "units of the values",
    "source_file": "file the observation came from",
}


@dataclass(frozen=True, eq=False)
class AsUsed:
    """What the analysis made of the rows, each (P,): ``innovation`` and ``error`` in the row's
    units, the robust ``weight``, and how many rows were ``merged`` into one."""

    innovation: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    merged: np.ndarray

    @classmethod
    def as_observed(cls, table: pd.DataFrame, hofx0: np.ndarray) -> AsUsed:
        """Every row for itself."""
        ones = np.ones(len(table))
        return cls(
            table["value"].to_numpy() - hofx0, table["error"].to_numpy(), ones, ones.astype(int)
        )


def write_feedback(
    path: Path,
    table: pd.DataFrame,
    hofx0: np.ndarray,
    hofx1: np.ndarray,
    sigma_b: np.ndarray,
    attributes: Mapping[str, str | int | float],
    overwrite: bool = False,
    used: AsUsed | None = None,
) -> None:
    """Write the rows of ``table`` in their order with H(x) of background and analysis and sigma_b,
    each (P,) in the row's units.

    PreQC is the code given before the model and other reports were consulted, EffectiveQC the final
    one. Raises OutputError.
    """
    used = used or AsUsed.as_observed(table, hofx0)
    passes = (table["qc"] <= QC.PASSIVE).to_numpy()
    effective = np.where(passes, used.error, np.nan)
    value = table["value"].to_numpy()
    numbers = dict(
        zip(
            _VALUES,
            (value, table["error"], effective, hofx0, hofx1, value - hofx0, value - hofx1, sigma_b),
            strict=True,
        )
    )
    numbers |= {
        "DerivedObsValue": np.where(passes, hofx0 + used.innovation, np.nan),
        "VarQCWeight": np.where(passes, used.weight, np.nan),
    }
    units = table["variable"].map({k: v.units for k, v in OBSERVABLES.items()})
    texts = dict(
        zip(_TEXTS, (table["station_id"], table["variable"], units, table["file"]), strict=True)
    )
    with publish(path, overwrite) as temporary, netCDF4.Dataset(temporary, "w") as data:
        data.setncatts(
            {
                "Conventions": "CF-1.11",
                "featureType": "point",
                "title": "Observations and their departures from the analysis",
            }
        )
        data.setncatts(dict(attributes))
        data.createDimension("obs", None)
        for name, attrs in _COORDINATES.items():
            _number(data, name, _seconds(table["time"]) if name == "time" else table[name], attrs)
        for name, long_name in (_VALUES | _AS_USED).items():
            extra = {"ancillary_variables": "EffectiveQC"} if name == "ObsValue" else {}
            _number(
                data,
                name,
                numbers[name],
                {"long_name": long_name, "coordinates": " ".join(_COORDINATES), **extra},
            )
        for name, long_name in _TEXTS.items():
            _text(data, name, texts[name], long_name)
        qc = table["qc"].to_numpy()
        before = np.where(np.isin(qc, (*_MODEL_CODES, QC.PASSIVE)), 0, qc)
        _integer(data, "PreQC", before, "i2", "quality control before the model", flags=True)
        _integer(data, "EffectiveQC", qc, "i2", "final quality control", flags=True)
        _integer(data, "use", table["use"], "i1", "1 to be assimilated, 0 passive")
        _integer(
            data,
            "superob_size",
            used.merged,
            "i4",
            "number of observations that this one stands for",
        )
        _integer(
            data,
            "source_row",
            table["row"],
            "i8",
            "line (text) or message (BUFR) in source_file, from 1",
        )


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
    words = np.array([str(word).encode() for word in distinct] or [b""])
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


def read_feedback(path: Path) -> pd.DataFrame:
    """The rows of a feedback file under its own variable names. Raises InputError when ``path`` is
    none."""
    try:
        with netCDF4.Dataset(path) as data:
            absent = [
                name for name in (*_VALUES, *_TEXTS, "EffectiveQC") if name not in data.variables
            ]
            if absent:
                raise InputError(
                    f"{path} is no feedback file: it has no {', '.join(absent)}; found: "
                    f"{', '.join(data.variables)}"
                )
            data.set_auto_mask(False)
            columns = {
                name: _words(v) if v.dtype == "S1" else v[:] for name, v in data.variables.items()
            }
    except FileNotFoundError as error:
        raise InputError(f"feedback file {path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read feedback file {path}: {error}") from error
    seconds = columns["time"]
    known = np.nan_to_num(np.round(seconds * 1e6)).astype("timedelta64[us]")
    columns["time"] = np.where(np.isnan(seconds), np.datetime64("NaT"), _EPOCH + known).astype(
        "datetime64[ns]"
    )
    return pd.DataFrame(columns)

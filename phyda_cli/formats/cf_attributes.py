"""What the CF conventions ask of an output, where the background lacked it: units that
UDUNITS knows, standard names, axes."""

from __future__ import annotations

import numpy as np
import xarray as xr

from phyda_cli import cf
from phyda_cli.fields.mesh import Mesh
from phyda_cli.formats.background import Background

__all__ = ["completed"]

_UNITS = {  # as ecCodes names them
    "gpm": "m",
    "Proportion": "1",
    "Fraction": "1",
    "Numeric": "1",
    "dimensionless": "1",
    "~": "1",
    "unknown": "1",
}
_CODES = "(Code table"
_WATER = "lwe_thickness_of_"  # a length, and GRIB counts precipitation in kg m-2


def completed(dataset: xr.Dataset, background: Background) -> xr.Dataset:
    """``dataset``, which has the layout of ``background.source``, with complete attributes; what
    the file states in CF's words stays."""
    dataset = dataset.copy()
    for name in map(str, dataset.variables):
        dataset[name].attrs = _in_cf(dict(dataset[name].attrs))
    for s in background.sources:
        known = cf.of_variable("r" if s.relative else s.variable)
        unconverted = (s.scale, s.offset) == (1, 0)
        for suffix in ("", "_increment", "_spread", "_members"):
            if s.name + suffix not in dataset:
                continue
            attrs = dataset[s.name + suffix].attrs
            if "grid_mapping" in dataset[s.name].attrs:
                attrs["grid_mapping"] = dataset[s.name].attrs["grid_mapping"]
            if unconverted:
                attrs.setdefault("units", known["units"])
            if suffix in ("", "_members"):
                attrs.setdefault("standard_name", known["standard_name"])
                attrs.setdefault("long_name", known["long_name"])
        if s.level_dim is not None and s.levels is not None:
            _complete_level(dataset, s.level_dim, s.levels)
    if isinstance(background.axes.grid, Mesh):
        return dataset
    for name, usual in (
        (background.axes.latitude, cf.LATITUDE),
        (background.axes.longitude, cf.LONGITUDE),
    ):
        if name in dataset.variables:
            dataset[name].attrs = usual | dataset[name].attrs
    return dataset


def _in_cf(attrs: dict[str, object]) -> dict[str, object]:
    units = str(attrs.get("units", ""))
    if units in _UNITS or units.startswith(_CODES):
        attrs["units"] = _UNITS.get(units, "1")
    if str(attrs.get("standard_name", "")).startswith(_WATER) and units.startswith("kg"):
        del attrs["standard_name"]
    return attrs


def _complete_level(dataset: xr.Dataset, dim: str, levels: np.ndarray) -> None:
    if dim not in dataset.variables:
        return
    attrs = dataset[dim].attrs
    stored = np.asarray(dataset[dim].values, np.float64)
    usual = cf.PRESSURE if np.allclose(stored, levels) else cf.LEVEL
    dataset[dim].attrs = usual | attrs

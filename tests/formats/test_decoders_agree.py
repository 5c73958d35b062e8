"""Independent decoders agree with phyda on every real forecast: xarray, ecCodes itself and pygrib,
which brings an ecCodes of its own and therefore runs in its own process."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import eccodes
import numpy as np
import pytest
import xarray as xr

from phyda_cli.formats.background import background_of
from phyda_cli.formats.inputs import open_forecast

pytestmark = pytest.mark.real_data

GRIB = [
    "gfs_2p5deg_20110110T12_f120.grib2",
    "era5_ensemble_10members_2levels.grib",
    "ecmwf_10deg_pl.grib",
    "nam_lambert_20180917T00_an.grib2",
]
Key = tuple[str, float, str, int]  # short name, level [hPa], valid time, member


def by_eccodes(path: Path) -> dict[Key, np.ndarray]:
    """Fields on pressure levels (rows, columns) from north to south, decoded one by one."""
    found: dict[Key, np.ndarray] = {}
    with open(path, "rb") as file:
        eccodes.codes_grib_multi_support_on()
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            date, time, name, kind, level, steps, rows, columns = (
                eccodes.codes_get(handle, key)
                for key in (
                    "validityDate",
                    "validityTime",
                    "shortName",
                    "typeOfLevel",
                    "level",
                    "step",
                    "Nj",
                    "Ni",
                )
            )
            member = eccodes.codes_get(handle, "number") if "ensemble" in path.name else 0
            if kind == "isobaricInhPa":
                values = eccodes.codes_get_values(handle).reshape(rows, columns)
                found.setdefault((name, float(level), f"{date}{time:04d}+{steps}", member), values)
            eccodes.codes_release(handle)
        eccodes.codes_grib_multi_support_off()
    return found


_PYGRIB = """
import pickle, sys
import numpy as np
import pygrib

found = {}
for g in pygrib.open(sys.argv[1]):
    if g.typeOfLevel == "isobaricInhPa":
        member = g.number if "ensemble" in sys.argv[1] else 0
        time = f"{g.validityDate}{g.validityTime:04d}+{g.step}"
        key = (g.shortName, float(g.level), time, member)
        found.setdefault(key, np.ma.filled(g.values, np.nan))
sys.stdout.buffer.write(pickle.dumps(found))
"""


def by_pygrib(path: Path) -> dict[Key, np.ndarray]:
    """As :func:`by_eccodes`."""
    if importlib.util.find_spec("pygrib") is None:
        pytest.skip("pygrib is not installed")
    done = subprocess.run([sys.executable, "-c", _PYGRIB, path], capture_output=True, check=True)
    found: dict[Key, np.ndarray] = pickle.loads(done.stdout)
    return found


@pytest.mark.parametrize("decode", [by_eccodes, by_pygrib])
@pytest.mark.parametrize("name", GRIB)
def test_grib(
    shared_data: Path, name: str, decode: Callable[[Path], dict[Key, np.ndarray]]
) -> None:
    path = shared_data / "forecasts" / name
    expected, compared = decode(path), 0
    series = open_forecast(path)
    for index in range(0, series.valid.size, 3):
        background = background_of(series, index)
        valid = f"{series.valid[index].item():%Y%m%d%H%M}+{series.lead[index]:.0f}"
        for source in background.sources:
            if source.levels is None or source.level_dim is None:
                continue
            short = str(background.source[source.name].attrs["GRIB_shortName"])
            for k, pressure in enumerate(source.levels):
                key = (short, float(pressure / 100), valid, int(series.label[index]))
                if key not in expected:
                    assert np.isnan(background.source[source.name].values[0, k]).all()
                    continue
                values = expected[key]
                np.testing.assert_array_equal(
                    background.source[source.name].values[0, k], values.astype(np.float32)
                )
                turned = "lambert" in name and source.variable in ("u", "v")  # to east and north
                if not source.relative and not turned:
                    level = np.abs(background.fields.levels - pressure).argmin()
                    np.testing.assert_allclose(
                        background.fields.upper[source.variable][level],
                        source.scale * values + source.offset,
                        rtol=1e-6,
                        atol=1e-9,
                    )
                compared += 1
    assert compared >= 24


@pytest.mark.parametrize("kind", ["background", "verifying_analysis"])
def test_netcdf(shared_data: Path, kind: str) -> None:
    path = shared_data / "cases" / "2008-12-08T12" / f"{kind}.nc"
    series = open_forecast(path)
    background = background_of(series, 0)
    with xr.open_dataset(path, engine="netcdf4") as data:
        assert series.valid[0] == data["time"].values.ravel()[0]
        np.testing.assert_allclose(background.fields.grid.latitude, data["latitude"])
        for source in background.sources:
            raw = np.squeeze(data[source.name].values).astype(float)
            expected = source.scale * raw + source.offset
            group = background.fields.upper if source.levels is not None else None
            found = background.fields.surface.get(source.variable)
            if group is not None:
                assert source.levels is not None
                level = np.abs(background.fields.levels - source.levels[0]).argmin()
                found = group[source.variable][level]
            assert found is not None
            np.testing.assert_allclose(found, expected, rtol=1e-6)

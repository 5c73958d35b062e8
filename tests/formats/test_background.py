"""Reading NetCDF backgrounds under every name, unit and orientation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.humidity import relative_humidity
from phyda_cli.formats.write import write_fields

from .samples import LEVELS, TIME, atmosphere

NAMES: dict[str, dict[str, str]] = {
    "short": {"z": "z", "t": "t", "u": "u", "v": "v", "q": "q", "msl": "msl", "t2m": "t2m"},
    "era5": {
        "z": "geopotential",
        "t": "temperature",
        "u": "u_component_of_wind",
        "v": "v_component_of_wind",
        "q": "specific_humidity",
        "msl": "mean_sea_level_pressure",
        "t2m": "2m_temperature",
    },
    "cmip": {"z": "phi", "t": "ta", "u": "ua", "v": "va", "q": "hus", "msl": "psl", "t2m": "tas"},
    "ncep": {
        "z": "Z",
        "t": "air",
        "u": "UGRD",
        "v": "VGRD",
        "q": "SPFH",
        "msl": "PRMSL",
        "t2m": "T2",
    },
    "standard": {"z": "a", "t": "b", "u": "c", "v": "d", "q": "e", "msl": "f", "t2m": "t2m"},
}
STANDARD = {
    "z": "geopotential",
    "t": "air_temperature",
    "u": "eastward_wind",
    "v": "northward_wind",
    "q": "specific_humidity",
    "msl": "air_pressure_at_sea_level",
}


def write(
    path: Path,
    *,
    names: str = "short",
    ascending: bool = False,
    west: str = "0..360",
    hpa: bool = True,
    level: str = "level",
    units: bool = True,
    coordinates: tuple[str, str] = ("latitude", "longitude"),
    packed: bool = False,
    times: int = 1,
    kind: Any = "NETCDF4",
    celsius: bool = False,
    metres: bool = False,
    transpose: bool = False,
) -> None:
    """A file as a centre might write it, always of the same atmosphere."""
    fields = atmosphere()
    lat_name, lon_name = coordinates
    data: dict[str, Any] = {}
    for name, values in {**fields.upper, **fields.surface}.items():
        attrs = (
            {
                "units": {
                    "z": "m**2 s**-2",
                    "t": "K",
                    "t2m": "K",
                    "q": "kg kg**-1",
                    "msl": "Pa",
                }.get(name, "m s**-1")
            }
            if units
            else {}
        )
        if names == "standard" and name in STANDARD:
            attrs["standard_name"] = STANDARD[name]
        if celsius and name in ("t", "t2m"):
            values, attrs["units"] = values - np.float32(273.15), "degC"
        if metres and name == "z":
            values, attrs["units"] = values / GRAVITY, "m"
        dims = (
            ("time", level, lat_name, lon_name)
            if name in fields.upper
            else ("time", lat_name, lon_name)
        )
        data[NAMES[names][name]] = (
            dims,
            np.stack([values + np.float32(i * (name == "u")) for i in range(times)]),
            attrs,
        )
    pressure = LEVELS / 100 if hpa else LEVELS
    when = (
        np.arange(times) * 6.0,
        {"units": "hours since 2020-02-29 06:00:00", "standard_name": "time"},
    )
    dataset = xr.Dataset(
        data,
        {
            "time": ("time", *when),
            level: (level, pressure, {"units": "hPa" if hpa else "Pa"} if units else {}),
            lat_name: (lat_name, fields.grid.latitude),
            lon_name: (lon_name, fields.grid.longitude),
        },
    )
    if ascending:
        dataset = dataset.isel({lat_name: slice(None, None, -1)})
    if west == "-180..180":
        dataset = dataset.assign_coords({lon_name: (dataset[lon_name] + 180) % 360 - 180}).sortby(
            lon_name
        )
    elif west == "0..180,-180..0":
        dataset = dataset.assign_coords({lon_name: (dataset[lon_name] + 180) % 360 - 180})
    elif west == "cyclic":
        first = dataset.isel({lon_name: [0]}).assign_coords({lon_name: [360.0]})
        dataset = xr.concat([dataset, first], lon_name)
    elif west == "descending":
        dataset = dataset.isel({lon_name: slice(None, None, -1)})
    if transpose:
        dataset = dataset.transpose(lon_name, lat_name, level, "time")
    encoding = {}
    if packed:
        for n, v in dataset.data_vars.items():
            low, high = float(v.min()), float(v.max())
            encoding[n] = {
                "dtype": "int16",
                "scale_factor": (high - low) / 60000,
                "add_offset": (high + low) / 2,
                "_FillValue": -32767,
            }
    dataset.to_netcdf(path, engine="netcdf4", format=kind, encoding=encoding)


def assert_same_atmosphere(background: Background, tolerance: float = 1e-6) -> None:
    """Every value at its latitude, longitude and level is that of the sample."""
    truth, found = atmosphere(), background.fields
    rows = [int(np.abs(truth.grid.latitude - x).argmin()) for x in found.grid.latitude]
    columns = [int(np.abs(truth.grid.longitude - x % 360).argmin()) for x in found.grid.longitude]
    levels = [int(np.abs(truth.levels - p).argmin()) for p in found.levels]
    np.testing.assert_allclose(truth.grid.longitude[columns], found.grid.longitude % 360, atol=1e-4)
    np.testing.assert_allclose(truth.levels[levels], found.levels)
    assert sorted(found.upper) == sorted(truth.upper)
    assert sorted(found.surface) == sorted(truth.surface)
    assert found.time == truth.time
    for name, values in truth.upper.items():
        expected = values[np.ix_(levels, rows, columns)]
        np.testing.assert_allclose(
            found.upper[name], expected, atol=tolerance * np.abs(values).max(), err_msg=name
        )
    for name, values in truth.surface.items():
        np.testing.assert_allclose(
            found.surface[name],
            values[np.ix_(rows, columns)],
            atol=tolerance * np.abs(values).max(),
            err_msg=name,
        )


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.sampled_from(sorted(NAMES)),
    ascending=st.booleans(),
    transpose=st.booleans(),
    hpa=st.booleans(),
    units=st.booleans(),
    west=st.sampled_from(["0..360", "-180..180", "0..180,-180..0", "cyclic", "descending"]),
    level=st.sampled_from(["level", "plev", "pressure_level", "isobaricInhPa", "lev"]),
    coordinates=st.sampled_from([("latitude", "longitude"), ("lat", "lon"), ("LAT", "LON")]),
    kind=st.sampled_from(["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4_CLASSIC"]),
)
def test_every_convention_gives_the_same_fields(**variant: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fc.nc")
        write(path, **variant)
        assert_same_atmosphere(read_background(path))


@pytest.mark.parametrize(
    ("variant", "tolerance"),
    [
        ({"packed": True}, 1e-4),
        ({"celsius": True}, 1e-6),
        ({"metres": True}, 1e-6),
        ({"celsius": True, "metres": True, "west": "-180..180"}, 1e-6),
    ],
)
def test_packing_and_units(tmp_path: Path, variant: dict[str, Any], tolerance: float) -> None:
    write(tmp_path / "fc.nc", **variant)
    background = read_background(tmp_path / "fc.nc")
    assert_same_atmosphere(background, tolerance)
    assert (any("t → t: × 1 + 273.15" in n for n in background.notes)) == ("celsius" in variant)
    assert (any("z → z: × 9.80665" in n for n in background.notes)) == ("metres" in variant)


def test_longitudes_increase_and_the_source_keeps_its_own(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc", west="cyclic")
    background = read_background(tmp_path / "fc.nc")
    assert background.fields.grid.shape == (9, 12)
    assert background.fields.grid.periodic
    assert background.source.sizes["longitude"] == 13


def test_region_across_greenwich_is_not_torn_apart(tmp_path: Path) -> None:
    sample = atmosphere(Grid(np.linspace(60, 30, 7), np.linspace(-20, 10, 7)))
    write_fields(tmp_path / "a.nc", sample)
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as dataset:
        dataset.assign_coords(longitude=dataset.longitude % 360).to_netcdf(
            tmp_path / "b.nc", engine="netcdf4"
        )
    for name in ("a.nc", "b.nc"):
        found = read_background(tmp_path / name).fields
        assert found.grid.longitude[-1] - found.grid.longitude[0] == pytest.approx(30)
        np.testing.assert_array_equal(found.upper["t"], sample.upper["t"])


def test_several_times(tmp_path: Path) -> None:
    path = tmp_path / "fc.nc"
    write(path, times=3)
    with pytest.raises(UsageError, match="2020-02-29T06:00, 2020-02-29T12:00, 2020-02-29T18:00"):
        read_background(path)
    with pytest.raises(UsageError, match="has no time 2020-03-01T00:00"):
        read_background(path, time=np.datetime64("2020-03-01T00"))
    exact = read_background(path, time=np.datetime64("2020-02-29T12"))
    nearest = read_background(path, near=np.datetime64("2020-02-29T13:40"))
    assert exact.fields.time == nearest.fields.time == np.datetime64("2020-02-29T12")
    np.testing.assert_array_equal(exact.fields.upper["u"], atmosphere().upper["u"] + np.float32(1))
    assert exact.source.sizes["time"] == 1


def test_unknown_variables_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc")
    with xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4") as dataset:
        gaps = dataset["msl"].where(dataset["msl"] > 101300).rename("sst_like")
        dataset.assign(soil=(("depth",), [1, 2]), odd=gaps).to_netcdf(
            tmp_path / "more.nc", engine="netcdf4"
        )
    background = read_background(tmp_path / "more.nc")
    assert "odd" in background.source
    assert background.source["soil"].values.tolist() == [1, 2]
    assert bool(background.source["odd"].isnull().any())
    assert_same_atmosphere(background)


def test_channel_names_on_different_levels(tmp_path: Path) -> None:
    sample = atmosphere()
    dims = ("latitude", "longitude")
    dataset = xr.Dataset(
        {
            "z500": (dims, sample.upper["z"][2]),
            "t850": (dims, sample.upper["t"][1]),
            "t_200hPa": (dims, sample.upper["t"][3]),
            "u100": (dims, sample.upper["u"][0], {"long_name": "100 metre U wind component"}),
        },
        {"latitude": sample.grid.latitude, "longitude": sample.grid.longitude},
        {"valid_time": "2020-02-29T06:00:00Z"},
    )
    dataset.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    background = read_background(tmp_path / "fc.nc")
    fields = background.fields
    assert fields.time == TIME
    assert fields.levels.tolist() == [20000, 50000, 85000]
    assert sorted(fields.upper) == ["t", "z"]
    np.testing.assert_array_equal(fields.upper["z"][1], sample.upper["z"][2])
    np.testing.assert_array_equal(fields.upper["t"][[0, 2]], sample.upper["t"][[3, 1]])
    assert np.isnan(fields.upper["z"][[0, 2]]).all()
    assert np.isnan(fields.upper["t"][1]).all()
    assert "z is absent at 200, 850 hPa" in background.notes


def test_relative_humidity_becomes_specific(tmp_path: Path) -> None:
    sample = atmosphere()
    write(tmp_path / "q.nc")
    r = relative_humidity(sample.upper["q"], sample.upper["t"], LEVELS[:, None, None])
    with xr.open_dataset(tmp_path / "q.nc", engine="netcdf4") as dataset:
        dataset = dataset.drop_vars("q").assign(r=(dataset["t"].dims, r[None], {"units": "%"}))
        dataset.to_netcdf(tmp_path / "r.nc", engine="netcdf4")
        dataset.drop_vars("t").to_netcdf(tmp_path / "no_t.nc", engine="netcdf4")
    background = read_background(tmp_path / "r.nc")
    assert_same_atmosphere(background)
    assert any("relative humidity" in n for n in background.notes)
    alone = read_background(tmp_path / "no_t.nc").fields
    assert "q" not in alone.upper
    assert "r" in alone.upper


@pytest.mark.parametrize(
    ("name", "units", "factor"),
    [
        ("z", "m**2 s**-2", GRAVITY),
        ("orog", "m", 1.0),
        ("geopotential_at_surface", "m2 s-2", GRAVITY),
    ],
)
def test_orography(tmp_path: Path, name: str, units: str, factor: float) -> None:
    height = np.linspace(0, 3000, 108).reshape(9, 12)
    write_fields(tmp_path / "a.nc", synthetic.select(atmosphere(), ["t", "msl"]))
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as dataset:
        dataset[name] = (("latitude", "longitude"), height * factor, {"units": units})
        dataset.to_netcdf(tmp_path / "b.nc", engine="netcdf4")
    found = read_background(tmp_path / "b.nc").fields
    np.testing.assert_allclose(found.surface["orography"], height, atol=1e-3)
    assert list(found.upper) == ["t"]


def test_rename(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc")
    with xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4") as dataset:
        odd = dataset.rename(t="THING", level="stage", latitude="rows")
        odd["stage"].attrs = {}
        odd.to_netcdf(tmp_path / "odd.nc", engine="netcdf4")
    mapping = {"THING": "t", "stage": "level", "rows": "latitude"}
    assert_same_atmosphere(read_background(tmp_path / "odd.nc", rename=mapping))
    with pytest.raises(UsageError, match="has no variable nothing"):
        read_background(tmp_path / "odd.nc", rename={**mapping, "nothing": "t"})
    with pytest.raises(UsageError, match="warmth is not known"):
        read_background(tmp_path / "odd.nc", rename={**mapping, "THING": "warmth"})


def test_members(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc")
    with xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4") as dataset:
        pair = xr.concat(
            [dataset, dataset.assign(u=dataset["u"] + 1)],
            xr.DataArray([0, 5], dims="number", name="number"),
        )
        pair.to_netcdf(tmp_path / "ens.nc", engine="netcdf4")
    with pytest.raises(UsageError, match="ensemble of 2 members: 0, 5") as caught:
        read_background(tmp_path / "ens.nc")
    assert "--member" in caught.value.hint
    with pytest.raises(UsageError, match="no member 3"):
        read_background(tmp_path / "ens.nc", member=3)
    found = read_background(tmp_path / "ens.nc", member=5)
    np.testing.assert_allclose(found.fields.upper["u"], atmosphere().upper["u"] + 1, rtol=1e-6)
    assert "member 5 of 2" in found.notes


def test_write_fields_round_trip(tmp_path: Path) -> None:
    sample = atmosphere()
    sample.upper["q"][3] = np.nan  # type: ignore[index]
    write_fields(tmp_path / "a.nc", sample, {"seed": 3})
    found = read_background(tmp_path / "a.nc")
    for name, values in {**sample.upper, **sample.surface}.items():
        np.testing.assert_array_equal({**found.fields.upper, **found.fields.surface}[name], values)
    assert found.fields.time == TIME
    assert found.source.attrs["seed"] == 3
    assert found.source.attrs["Conventions"] == "CF-1.11"
    np.testing.assert_array_equal(found.fields.levels, LEVELS)

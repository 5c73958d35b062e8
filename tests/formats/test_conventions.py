"""Forecasts as other tools write them: names, units, coordinates, levels and fill values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.inputs import open_series

LEVELS = np.array([1000.0, 925.0, 850.0, 500.0, 300.0])  # hPa
LAT, LON = np.linspace(80, -80, 9), np.arange(12) * 30.0
TIME = np.datetime64("2024-07-15T12", "ns")
HEIGHT = 7000 * np.log(1013.25 / LEVELS)


def upper(mean: np.ndarray | float, slope: float = 1.0) -> np.ndarray:
    """(L, 9, 12) about ``mean``, different at every point."""
    pattern = np.sin(np.deg2rad(LAT))[:, None] + np.cos(np.deg2rad(LON))
    return (np.asarray(mean).reshape(-1, 1, 1) + slope * pattern + np.zeros((5, 1, 1))).astype("f4")


T = upper(288 - 0.0065 * np.minimum(HEIGHT, 11000), 3)
Z = upper(GRAVITY * HEIGHT, 200)
U, V = upper(8, 4), upper(-2, 3)
Q = upper(0.008 * (LEVELS / 1000) ** 3, 1e-5)
MSL, SP = upper(101300, 400)[0], upper(98000, 900)[0]
ON_LEVELS = ("time", "level", "lat", "lon")
SINGLE = ("time", "lat", "lon")


def dataset(level: str = "level", units: str = "hPa", **variables: Any) -> xr.Dataset:
    """``variables``: (values, attributes); those of three dimensions lie on the levels."""
    coords: dict[str, Any] = {"time": ("time", [TIME]), "lat": ("lat", LAT), "lon": ("lon", LON)}
    if any(np.ndim(v[0]) == 3 for v in variables.values()):
        scale = {"Pa": 100.0}.get(units, 1.0)
        coords[level] = (level, LEVELS * scale, {"units": units} if units else {})
    on_levels = ("time", level, "lat", "lon")
    return xr.Dataset(
        {
            name: (on_levels if np.ndim(values) == 3 else SINGLE, np.asarray(values)[None], attrs)
            for name, (values, attrs) in variables.items()
        },
        coords,
    )


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Background]:
    """Write a data set, and read it as a background."""

    def written(data: xr.Dataset, **options: Any) -> Background:
        data.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
        return read_background(tmp_path / "fc.nc", **options)

    return written


def used(background: Background) -> dict[str, str]:
    """Name in the file → canonical variable."""
    return {s.name: s.variable for s in background.sources}


def lines(background: Background, name: str) -> list[str]:
    return [n for n in background.notes if n.startswith(f"not used: {name} ")]


Read = Callable[..., Background]
K = {"units": "K"}


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (
            "wgrib2",
            "TMP_850mb:t HGT_500mb:z UGRD_850mb:u VGRD_850mb:v SPFH_850mb:q TMP_2maboveground:t2m "
            "UGRD_10maboveground:u10 VGRD_10maboveground:v10 PRMSL_meansealevel:msl "
            "PRES_surface:sp HGT_surface:orography DPT_2maboveground:d2m RH_2maboveground:rh2m "
            "LAND_surface:lsm",
        ),
        (
            "MERRA-2 and GEOS",
            "T2M:t2m QV2M:q2m U10M:u10 V10M:v10 SLP:msl PS:sp PHIS:orography T850:t H500:z Q850:q "
            "U850:u FRLAND:lsm",
        ),
        ("CESM", "TREFHT:t2m QREFHT:q2m PSL:msl PS:sp PHIS:orography T850:t Z500:z LANDFRAC:lsm"),
        (
            "THREDDS",
            "Temperature_height_above_ground:t2m u-component_of_wind_height_above_ground:u10 "
            "Pressure_surface:sp Pressure_reduced_to_MSL_msl:msl "
            "Geopotential_height_surface:orography Land_cover_0__sea_1__land_surface:lsm",
        ),
        (
            "ACE",
            "TMP2m:t2m UGRD10m:u10 VGRD10m:v10 Q2m:q2m PRESsfc:sp HGTsfc:orography h500:z "
            "TMP850:t PRMSL:msl",
        ),
        ("earth2studio", "t2m:t2m u10m:u10 v10m:v10 msl:msl sp:sp z500:z t850:t q700:q u200:u"),
        (
            "GraphCast",
            "2m_temperature:t2m 10m_u_component_of_wind:u10 mean_sea_level_pressure:msl "
            "geopotential_at_surface:orography",
        ),
        ("AIFS and Pangu", "2t:t2m 10u:u10 10v:v10 msl:msl sp:sp t_850:t z_500:z q_700:q lsm:lsm"),
        ("WRF", "T2:t2m U10:u10 V10:v10 PSFC:sp Q2:q2m"),
        ("GrADS servers", "tmp2m:t2m ugrd10m:u10 prmslmsl:msl pressfc:sp hgtsfc:orography"),
        (
            "NCL",
            "TMP_P0_L103_GLL0:t2m UGRD_P0_L103_GLL0:u10 PRMSL_P0_L101_GLL0:msl PRES_P0_L1_GLL0:sp",
        ),
    ],
)
def test_single_levels_of_families(read: Read, family: str, names: str) -> None:
    values = {
        "t": T[2], "z": Z[3], "u": U[0], "v": V[0], "q": Q[2], "t2m": T[0], "d2m": T[0] - 3,
        "u10": U[0], "v10": V[0], "q2m": Q[0], "rh2m": 60 + U[0], "msl": MSL, "sp": SP,
        "orography": 30 * (U[0] - 3), "lsm": (U[0] > 8).astype("f4"),
    }  # fmt: skip
    pairs = dict(pair.rsplit(":", 1) for pair in names.split())
    found = read(dataset(**{n: (values[v], {}) for n, v in pairs.items()}))
    assert used(found) == pairs, family


@pytest.mark.parametrize(
    "names",
    [
        "T U V QV H",
        "T U V Q Z3",
        "Temperature_isobaric u-component_of_wind_isobaric v-component_of_wind_isobaric "
        "Specific_humidity_isobaric Geopotential_height_isobaric",
        "tmpprs ugrdprs vgrdprs spfhprs hgtprs",
        "TMP_P0_L100_GLL0 UGRD_P0_L100_GLL0 VGRD_P0_L100_GLL0 SPFH_P0_L100_GLL0 HGT_P0_L100_GLL0",
        "temp x_wind y_wind q ht",
    ],
)
def test_levels_of_families(read: Read, names: str) -> None:
    t, u, v, q, z = names.split()
    fields = {t: T, u: U, v: V, q: Q, z: Z / GRAVITY}
    found = read(dataset(level="isobaric3", units="Pa", **{n: (x, {}) for n, x in fields.items()}))
    assert used(found) == {t: "t", u: "u", v: "v", q: "q", z: "z"}
    np.testing.assert_allclose(found.fields.upper["z"], Z, rtol=1e-6)
    assert any(z in n and "m" in n for n in found.notes)


def test_counters_at_the_end_of_a_name_are_no_levels(read: Read) -> None:
    found = read(dataset(t=(T, K), t_2=(T[0], K), t_3=(T[4], K), t_500=(T[3], K), gh_2=(Z[0], {})))
    assert used(found) == {"t": "t"}
    assert found.fields.levels.tolist() == (LEVELS * 100).tolist()
    for name in ("t_2", "t_3", "t_500"):
        assert len(lines(found, name)) == 1
    assert "t_2" in found.source


def test_numbered_layers_are_no_levels(read: Read) -> None:
    layers = {f"air_temperature_{i}": (T[i], K) for i in range(5)}
    layers |= {f"eastward_wind_{i}": (U[i % 5], {}) for i in range(20, 23)}
    found = read(dataset(PRESsfc=(SP, {}), **layers))
    assert used(found) == {"PRESsfc": "sp"}
    assert len(lines(found, "air_temperature_3")) == 1


def test_hints_work(read: Read) -> None:
    data = dataset(t=(T, K), t_2=(T[3], K), odd=(MSL, {"units": "hPa"}), u_2=(U[0], {}))
    told = read(data, rename={"t_2": "ignore", "odd": "ignore", "u_2": "u500hPa"})
    assert not lines(told, "t_2")
    assert used(told) == {"t": "t", "u_2": "u"}
    assert np.isfinite(told.fields.upper["u"][told.fields.levels == 50000]).all()
    assert not read(dataset(t=(T, K), t_2=(T[3], K)), rename={"t_2": "ignore"}).notes


def test_what_a_file_states_outweighs_a_name(read: Read) -> None:
    speed = {"long_name": "10 metre wind speed", "units": "m s-1"}
    theta = {"long_name": "perturbation potential temperature", "units": "K"}
    at_80 = {"long_name": "temperature at 80 m", "units": "K"}
    found = read(
        dataset(
            U10=(U[0], speed),
            T=(T, theta),
            t2m=(T[0], K),
            temp=(T[0], at_80),
            v=(V, {"standard_name": "northward_wind", "units": "m s-1"}),
            u=(U, {"standard_name": "wind_speed", "units": "m s-1"}),
        )
    )
    assert used(found) == {"t2m": "t2m", "v": "v"}
    assert lines(found, "U10")
    assert lines(found, "T")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("u", {"long_name": "ensemble spread of the wind"}),
        ("u", {"cell_methods": "realization: standard_deviation"}),
        ("u_std", {"standard_name": "eastward_wind"}),
        ("u", {"long_name": "maximum wind component u in the last 6 hours"}),
        ("u", {"cell_methods": "time: maximum"}),
        ("u", {"GRIB_stepType": "accum", "GRIB_shortName": "u"}),
        ("u", {"long_name": "u wind anomaly"}),
    ],
)
def test_statistics_are_no_state(read: Read, name: str, attributes: dict[str, str]) -> None:
    found = read(dataset(t=(T, K), **{name: (U, {"units": "m s-1", **attributes})}))
    assert used(found) == {"t": "t"}


@pytest.mark.parametrize(("hours", "is_used"), [(1, True), (6, False), (744, False)])
def test_a_mean_over_more_than_an_hour_is_no_state(read: Read, hours: int, is_used: bool) -> None:
    mean = {"units": "m s-1", "cell_methods": "area: mean time: mean (interval: 1 hour)"}
    data = dataset(t=(T, K), u=(U, mean))
    data["time_bnds"] = (("time", "bnds"), [[TIME - np.timedelta64(hours, "h"), TIME]])
    data["time"].attrs["bounds"] = "time_bnds"
    assert ("u" in used(read(data))) == is_used
    assert "u" in used(read(data.drop_vars("time_bnds")))  # a note says it


def of_cfgrib(short: str, name: str) -> dict[str, str]:
    """Attributes that cfgrib writes: the level is in a coordinate."""
    keys = {"GRIB_shortName": short, "GRIB_cfVarName": name}
    return keys | {"GRIB_typeOfLevel": "heightAboveGround", "units": "K" if "t" in short else "m/s"}


@pytest.mark.parametrize(
    ("height", "wanted"),
    [
        (2.0, {"t": "t2m", "u10": "u10"}),  # merged: the coordinate is the temperature's
        (10.0, {"u10": "u10"}),
        (80.0, {"u10": "u10"}),
        (None, {"t": "t2m", "u10": "u10"}),
    ],
)
def test_the_height_of_cfgrib(read: Read, height: float | None, wanted: dict[str, str]) -> None:
    """u and t have no height in their names, u10 and u100 have."""
    data = dataset(
        msl=(MSL, {}),
        t=(T[0], of_cfgrib("t", "t")),
        u=(V[0], of_cfgrib("u", "u")),
        u100=(U[0] + 9, of_cfgrib("100u", "u100")),
        u10=(U[0], of_cfgrib("10u", "u10")),
    )
    if height is not None:
        data = data.assign_coords(heightAboveGround=((), height, {"units": "m"}))
    found = read(data)
    assert used(found) == {"msl": "msl"} | wanted
    alone = used(read(data.drop_vars("u10")))
    assert ("u" in alone) == (height in (10.0, None))
    assert "u100" not in alone


def test_a_screen_height_makes_the_variable(read: Read) -> None:
    data = dataset(air_temperature=(T[0], K | {"standard_name": "air_temperature"}))
    data = data.assign(air_temperature_0=(ON_LEVELS, T[None], K)).assign_coords(
        level=("level", LEVELS, {"units": "hPa"})
    )
    height = xr.Variable((), 1.5, {"units": "m", "standard_name": "height"})
    found = read(data.assign_coords(height=height))
    assert used(found) == {"air_temperature": "t2m", "air_temperature_0": "t"}
    second = dataset(
        air_temperature=(T[0], K), air_temperature_0=(T[0] + 2, K), relative_humidity=(60 + U, {})
    ).assign_coords(height=height)
    found = read(second)
    assert used(found) == {"air_temperature": "t2m", "relative_humidity": "r"}
    assert lines(found, "air_temperature_0")


def test_a_scalar_height_belongs_to_those_that_list_it(tmp_path: Path) -> None:
    data = dataset(temp=(T[0], K), tair=(T[0] + 2, K), msl=(MSL, {}))
    data["height"] = ((), 2.0, {"units": "m"})
    data["temp"].attrs["coordinates"] = "height"
    data.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    assert used(read_background(tmp_path / "fc.nc")) == {"temp": "t2m", "msl": "msl"}


def test_any_axis_in_pressure_units_is_one(read: Read) -> None:
    data = dataset(level="level", units="millibar", air=(T, {"units": "degK"}))
    data["shum"] = (("time", "level_2", "lat", "lon"), Q[None, :3], {"units": "kg/kg"})
    data["wind"] = (
        ("time", "surfaces", "lat", "lon"),
        U[None, 2:4],
        {"standard_name": "eastward_wind"},
    )
    data = data.assign_coords(
        level_2=("level_2", LEVELS[:3] * 100, {"units": "Pa"}),
        pressures=("surfaces", LEVELS[2:4], {"units": "hPa"}),
    )
    found = read(data)
    assert used(found) == {"air": "t", "shum": "q", "wind": "u"}
    at = found.fields.levels.tolist()
    np.testing.assert_array_equal(found.fields.upper["q"][at.index(85000)], Q[2])
    np.testing.assert_array_equal(found.fields.upper["u"][at.index(50000)], U[3])


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        ([1, 2, 3, 4, 5], {}),
        (LEVELS, {"units": "hPa", "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate"}),
        (LEVELS, {"units": "hPa", "long_name": "hybrid level at midpoints (1000*(A+B))"}),
        ([1, 2, 3, 4, 5], {"units": "layer"}),
        (LEVELS, {"units": "m"}),
    ],
)
def test_model_levels_are_not_taken_for_pressures(
    read: Read, values: list[float], attributes: dict[str, str]
) -> None:
    data = dataset(t=(T, K), msl=(MSL, {})).assign_coords(lev=1)
    data = data.drop_vars("lev").rename(level="lev").assign_coords(lev=("lev", values, attributes))
    found = read(data)
    assert used(found) == {"msl": "msl"}
    assert lines(found, "t")


@pytest.mark.parametrize("name", ["geopotential_at_surface", "z_surface", "phis", "zsfc", "PHIS"])
@pytest.mark.parametrize("top", [400.0, 5000.0])
def test_unlabelled_terrain(read: Read, name: str, top: float) -> None:
    height = np.linspace(0, top, 108).reshape(9, 12)
    found = read(dataset(t=(T, {}), **{name: (GRAVITY * height, {})}))
    np.testing.assert_allclose(found.fields.surface["orography"], height, atol=0.01)
    assert any(f"terrain up to {top:.0f} m" in n for n in found.notes)


@pytest.mark.parametrize("factor", [1.0, 1 / GRAVITY, 0.1 / GRAVITY])
@pytest.mark.parametrize("name", ["z", "gh", "geopotential"])
def test_unlabelled_heights_are_judged_by_their_values(
    read: Read, name: str, factor: float
) -> None:
    found = read(dataset(**{name: (Z * factor, {})}))
    np.testing.assert_allclose(found.fields.upper["z"], Z, rtol=1e-5)
    assert any(n.startswith(f"{name} has no units") for n in found.notes)


def test_other_unlabelled_values_are_judged_and_said(read: Read) -> None:
    found = read(dataset(t=(T - 273.15, {}), msl=(MSL / 100, {}), q=(Q * 1000, {}), u=(U, {})))
    np.testing.assert_allclose(found.fields.upper["t"], T, atol=1e-3)
    np.testing.assert_allclose(found.fields.surface["msl"], MSL, rtol=1e-5)
    np.testing.assert_allclose(found.fields.upper["q"], Q, rtol=1e-5)
    for name in ("t", "msl", "q"):
        assert sum(n.startswith(f"{name} has no units") for n in found.notes) == 1
    assert any("without units" in n and "u in m s-1" in n for n in found.notes)


@pytest.mark.parametrize(
    ("name", "values", "units", "like"),
    [
        ("T", T, "C", "K"),
        ("msl", MSL, "hPa", "Pa"),
        ("z", Z, "m", "m2 s-2"),
        ("z", Z / GRAVITY, "m2 s-2", "m"),
        ("q", Q, "g kg-1", "kg kg-1"),
        ("r", upper(0.6, 0.1), "%", "fraction"),
        ("t2m", T[0], "degC", "K"),
    ],
)
def test_units_that_the_values_contradict(
    read: Read, name: str, values: np.ndarray, units: str, like: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(dataset(**{name: (values, {"units": units})}))
    assert f"{name} says its units are {units!r}" in caught.value.message
    assert like in caught.value.message.split("look like")[1]
    low, high = values.min(), values.max()
    assert f"({low:.4g} to {high:.4g})" in caught.value.message


def test_spelled_units(read: Read) -> None:
    found = read(dataset(PHIS=(GRAVITY * 500 + 0 * MSL, {"units": "m+2 s-2"}), t=(T, K)))
    np.testing.assert_allclose(found.fields.surface["orography"], 500, rtol=1e-6)


def test_fill_below_ground_stays_fill(read: Read) -> None:
    ground = upper(93000, 2500)[0]
    below = np.broadcast_to(LEVELS[:, None, None] * 100 > ground, T.shape)
    assert 0 < below[1].sum() < below[1].size
    for fill in (np.nan, -9999.0, 1e15):
        holed = np.where(below, fill, T).astype("f4")
        found = read(dataset(t=(holed, K), ps=(ground, {"units": "Pa"})))
        np.testing.assert_array_equal(np.isnan(found.fields.upper["t"]), below)
        np.testing.assert_array_equal(found.source["t"].values[0], holed)
        assert any("below the surface" in n for n in found.notes)


def test_impossible_points_are_counted_below_and_above_one_percent(read: Read) -> None:
    some = T.copy()
    some[1, 3, 4] = 400
    found = read(dataset(t=(some, K)))
    assert np.isnan(found.fields.upper["t"]).sum() == 1
    assert any("1 of 108 points at 925 hPa" in n and "longitudes 120" in n for n in found.notes)
    assert found.source["t"].values[0, 1, 3, 4] == 400
    some[1, 3, 5] = 401
    with pytest.raises(InputError, match="2 of 108 points, 2%, are outside") as caught:
        read(dataset(t=(some, K)))
    assert "t=ignore" in caught.value.hint


@pytest.mark.parametrize("ground", ["orog", "ps"])
def test_reduced_pressure_over_high_ground_is_no_reason_to_refuse(read: Read, ground: str) -> None:
    high = np.zeros(MSL.shape, bool)
    high[2:4, 3:8] = True
    values = np.where(high, 81000 + U[0], MSL)
    terrain = np.where(high, 4500.0, 10.0) if ground == "orog" else np.where(high, 58000.0, SP)
    units = {"orog": "m", "ps": "Pa"}[ground]
    found = read(dataset(msl=(values, {"units": "Pa"}), **{ground: (terrain, {"units": units})}))
    np.testing.assert_array_equal(np.isnan(found.fields.surface["msl"]), high)
    assert any(n.startswith("msl is outside") and "10 of 108" in n for n in found.notes)


def test_longitudes_of_the_output_increase(read: Read) -> None:
    data = dataset(t=(T, K)).assign_coords(lon=np.where(LON > 180, LON - 360, LON))
    found = read(data)
    np.testing.assert_array_equal(found.source["lon"], LON)
    np.testing.assert_array_equal(found.fields.upper["t"], T)


def test_several_heights_are_said(read: Read) -> None:
    data = dataset(t=(T, K), u=(U, {"units": "m s-1"}))
    data["u-component_of_wind_height_above_ground"] = (
        ("time", "height_above_ground2", "lat", "lon"),
        U[None, :2],
        {"units": "m/s"},
    )
    height = ("height_above_ground2", [10.0, 80.0], {"units": "m", "positive": "up"})
    found = read(data.assign_coords(height_above_ground2=height))
    (line,) = lines(found, "u-component_of_wind_height_above_ground")
    assert "looks like u10" in line
    assert "10, 80 m" in line


def test_final_and_preliminary_versions(read: Read, tmp_path: Path) -> None:
    times = np.array([TIME - np.timedelta64(6, "h"), TIME])
    both = np.full((2, 2, *T.shape), np.nan, "f4")
    both[0, 0], both[1, 1] = T - 1, T
    data = xr.Dataset(
        {"t": (("time", "expver", "level", "lat", "lon"), both, K)},
        {
            "time": times,
            "expver": [1, 5],
            "level": ("level", LEVELS, {"units": "millibars"}),
            "lat": LAT,
            "lon": LON,
        },
    )
    found = read(data, time=TIME)
    np.testing.assert_array_equal(found.fields.upper["t"], T)
    assert any("preliminary" in n for n in found.notes)
    final = read(data, time=times[0])
    np.testing.assert_array_equal(final.fields.upper["t"], T - 1)
    assert not any("preliminary" in n for n in final.notes)
    series = open_series(tmp_path / "fc.nc")
    (_, stacked), *_ = series.frames.read([0, 1], ["t850"])
    np.testing.assert_array_equal(stacked[:, 0], np.stack([T[2] - 1, T[2]]))


def test_batch_of_one_and_a_zarr_store(tmp_path: Path) -> None:
    data = dataset(temperature=(T, {}), geopotential=(Z, {})).expand_dims("batch")
    data.to_zarr(tmp_path / "fc.zarr")
    found = read_background(tmp_path / "fc.zarr")
    np.testing.assert_array_equal(found.fields.upper["t"], T)
    assert found.fields.time == TIME


def test_a_time_of_any_name_is_one(read: Read) -> None:
    data = dataset(t=(T, K)).drop_vars("time").rename(time="Time")
    when = ("Time", [720.0], {"units": "minutes since 2024-07-15 00:00:00"})
    assert read(data.assign(XTIME=when)).fields.time == TIME


def test_wrf_output_is_refused_for_its_grid_first(read: Read) -> None:
    lat, lon = np.meshgrid(np.linspace(40, 45, 6), np.linspace(5, 12, 8), indexing="ij")
    horizontal = ("Time", "south_north", "west_east")
    data = xr.Dataset(
        {
            "Times": (("Time",), np.array([b"2024-07-15_12:00:00"], "S19")),
            "XLAT": (horizontal, lat[None], {"units": "degree_north"}),
            "XLONG": (horizontal, lon[None], {"units": "degree_east"}),
            "T": (("Time", "bottom_top", *horizontal[1:]), np.zeros((1, 5, 6, 8)), K),
        }
    )
    with pytest.raises(InputError, match=r"WRF.*eta") as caught:
        read(data)
    assert "wrf-python" in caught.value.hint
    assert "--valid-time" not in caught.value.hint

from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.remap import present_levels
from phyda_cli.observations.atmosphere import standard_height, standard_pressure
from phyda_cli.observations.operators import build_operator, operator_check
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, make

TIME = np.datetime64("2020-10-01T06:00")
REGION = Grid(np.arange(60.0, 29.0, -1.5), np.arange(-20.0, 15.0, 1.5))
GLOBE = Grid(np.linspace(-87.5, 87.5, 36), np.arange(0.0, 360.0, 5.0))
LEVELS = np.array([30000.0, 50000.0, 85000.0, 92500.0])


def fields(grid: Grid = REGION, **changes: np.ndarray) -> Fields:
    """Upper-air fields linear in latitude, longitude and log pressure; surface fields linear in
    latitude."""
    lat, lon = grid.mesh
    log_p = np.log(LEVELS)[:, None, None]
    upper = {
        "t": 200 + 0.5 * lat + 0.1 * lon + 8 * log_p,
        "u": 3 * lat - lon + 2 * log_p,
        "v": lat + 0 * log_p,
        "z": 1e6 - 8e4 * log_p + 0 * lat,
        "q": 1e-3 * log_p + 1e-5 * lat,
    }
    surface = {
        "t2m": 280 + 0.1 * lat,
        "msl": 101000 + 10 * lat,
        "u10": lat + 0.0,
        "v10": -lat,
        "orography": np.full(grid.shape, 200.0),
    }
    for name, value in changes.items():
        (upper if name in upper else surface)[name] = np.broadcast_to(
            value, (lat if name not in upper else upper["t"]).shape
        )
    return Fields(grid, TIME, LEVELS, upper, surface)


def observations(
    variable: str | list[str],
    latitude: object = 45.3,
    longitude: object = 2.2,
    pressure: object = np.nan,
    **other: object,
) -> pd.DataFrame:
    size = max(np.size(a) for a in (variable, latitude, longitude, pressure, *other.values()))
    columns = {
        "variable": variable,
        "latitude": latitude,
        "longitude": longitude,
        "pressure": pressure,
        **other,
    }
    return make(station_id="a", time=TIME, value=np.zeros(size), **columns)


def only(state: Fields, table: pd.DataFrame) -> tuple[float, int]:
    """H(x) and the code of a single observation."""
    operator = build_operator(state, table, None)
    assert operator.ok[0] == (operator.qc[0] == 0)
    return float(operator.apply(state.vector())[0]), int(operator.qc[0])


places = st.lists(
    st.tuples(st.floats(30, 60), st.floats(-20, 14.5), st.floats(30000, 92500)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30)
@given(places)
def test_exact_for_fields_linear_in_position_and_log_pressure(
    points: list[tuple[float, float, float]],
) -> None:
    lat, lon, p = np.array(points).T
    state = fields()
    for name, expected in {
        "t": 200 + 0.5 * lat + 0.1 * lon + 8 * np.log(p),
        "u": 3 * lat - lon + 2 * np.log(p),
        "z": 1e6 - 8e4 * np.log(p),
    }.items():
        operator = build_operator(state, observations(name, lat, lon, p), None)
        assert operator.ok.all()
        np.testing.assert_allclose(operator.apply(state.vector()), expected, rtol=1e-12)
    operator = build_operator(state, observations("msl", lat, lon), None)
    np.testing.assert_allclose(operator.apply(state.vector()), 101000 + 10 * lat)


def test_constant_fields_are_exact_everywhere_on_the_globe() -> None:
    rng = np.random.default_rng(0)
    lat = np.concatenate([rng.uniform(-90, 90, 500), [90, -90, 89.9, 0, 0]])
    lon = np.concatenate([rng.uniform(-180, 360, 500), [0, 33, 357.5, 359.999, -0.001]])
    state = fields(GLOBE, t=np.array(250.0), msl=np.array(1e5))
    for table, expected in (
        (observations("t", lat, lon, 6e4), 250),
        (observations("msl", lat, lon), 1e5),
    ):
        operator = build_operator(state, table, None)
        assert operator.ok.all()
        np.testing.assert_allclose(operator.apply(state.vector()), expected)


def test_longitude_wraps() -> None:
    _, lon = GLOBE.mesh
    state = fields(GLOBE, msl=np.where(lon > 180, lon - 360, lon))
    for longitude in (357.0, -3.0):
        assert only(state, observations("msl", 10.0, longitude))[0] == pytest.approx(-3.0)


def test_a_uniform_flow_crosses_the_pole() -> None:
    _, lon = GLOBE.mesh
    angle = np.deg2rad(lon)
    state = fields(GLOBE, u=np.cos(angle), v=-np.sin(angle), u10=np.cos(angle), v10=-np.sin(angle))
    for u, v, level in (("u", "v", 5e4), ("u10", "v10", np.nan)):
        got = (
            only(state, observations(u, 90.0, 40.0, level))[0],
            only(state, observations(v, 90.0, 40.0, level))[0],
        )
        assert got == pytest.approx((np.cos(np.deg2rad(40)), -np.sin(np.deg2rad(40))), abs=1e-3)


def test_adjoint() -> None:
    rng = np.random.default_rng(1)
    aloft = ["t", "u", "v", "q", "z", "wind_speed", "thickness", "t", "q"]
    names = [*aloft, "t2m", "q2m", "u10", "v10", "msl", "sp", "tcwv", "wind_speed", "r"]
    pressure = [4e4] * 6 + [9e4] * 3 + [np.nan] * 8 + [4e4]
    top = [np.nan] * 6 + [5e4] * 3 + [np.nan] * 9
    n = len(names)
    table = observations(
        names,
        rng.uniform(-90, 90, n),
        rng.uniform(0, 360, n),
        pressure,
        pressure_top=top,
        elevation=300.0,
    )
    operator = build_operator(fields(GLOBE), table, None)
    assert operator.qc.tolist() == [0] * (n - 1) + [QC.H_FAILED]
    x, y = rng.normal(size=operator.matrix.shape[1]), rng.normal(size=n)
    assert (operator.matrix @ x) @ y == pytest.approx(x @ (operator.matrix.T @ y), rel=1e-12)


def test_many_states_at_once() -> None:
    state = fields()
    operator = build_operator(
        state, observations(["t", "t2m"], pressure=[6e4, np.nan], elevation=300.0), None
    )
    members = np.stack([state.vector(), state.vector() + 1], axis=1)
    np.testing.assert_allclose(operator.apply(members)[:, 1] - operator.apply(members)[:, 0], 1)
    np.testing.assert_allclose(operator.apply(members)[:, 0], operator.apply(state.vector()))


@pytest.mark.parametrize(
    ("variable", "pressure", "code"),
    [
        ("t", 29980, 0),
        ("t", 29900, 15),
        ("u", 105000, 0),
        ("u", 107000, 15),
        ("z", 92550, 0),
        ("z", 100000, 15),
        ("t", np.nan, 15),
    ],
)
def test_range_of_the_levels(variable: str, pressure: float, code: int) -> None:
    value, qc = only(fields(), observations(variable, pressure=float(pressure)))
    assert qc == code
    assert np.isnan(value) == (code == 15)


def test_below_the_lowest_level_wind_is_constant_and_temperature_has_the_standard_lapse() -> None:
    state = fields(t=np.array(280.0), u=np.array(7.0))
    assert only(state, observations("u", pressure=1e5))[0] == pytest.approx(7.0)
    depth = standard_height(np.array(92500.0)) - standard_height(np.array(1e5))
    assert only(state, observations("t", pressure=1e5))[0] == pytest.approx(280 + 6.5e-3 * depth)


def test_a_level_of_nan_is_absent_for_that_variable_alone() -> None:
    state = fields()
    t = state.upper["t"].copy()
    t[2:] = np.nan
    u = state.upper["u"].copy()
    u[[0, 2, 3]] = np.nan
    state = fields(t=t, u=u)
    assert present_levels(state, "t").tolist() == [True, True, False, False]
    assert present_levels(state, "u").tolist() == [False, True, False, False]
    codes = [
        only(state, observations(v, pressure=p))[1]
        for v, p in (
            ("t", 40000),
            ("t", 52000),
            ("t", 70000),
            ("u", 50000),
            ("u", 55000),
            ("v", 70000),
        )
    ]
    assert codes == [0, 15, 15, 0, 15, 0]
    operator = build_operator(state, observations(["t", "u"], pressure=[4e4, 5e4]), None)
    assert np.isfinite(operator.apply(state.vector())).all()


def test_a_hole_in_a_field_costs_only_the_observations_beside_it() -> None:
    msl = fields().surface["msl"].copy()
    msl[0, 0] = np.nan
    operator = build_operator(
        fields(msl=msl), observations("msl", [59.5, 58.5, 45.0], [-19.5, -18.5, 0.0]), None
    )
    assert operator.qc.tolist() == [15, 0, 0]


def test_outside_the_region() -> None:
    operator = build_operator(
        fields(), observations("msl", [45, 65, 45, np.nan], [340.0, 0, 16, 0]), None
    )
    assert operator.qc.tolist() == [0, QC.DOMAIN, QC.DOMAIN, QC.DOMAIN]
    assert np.isnan(operator.offset[1:]).all()
    assert operator.matrix[1:].nnz == 0


@pytest.mark.parametrize(
    ("elevation", "correction", "code"),
    [
        (200, 0, 0),
        (300, -0.65, 0),
        (100, 0.65, 0),
        (np.nan, 0, 0),
        (701, None, 17),
        (-301, None, 17),
    ],
)
def test_station_height_for_t2m(elevation: float, correction: float | None, code: int) -> None:
    value, qc = only(fields(), observations("t2m", elevation=float(elevation)))
    assert qc == code
    assert correction is None or value == pytest.approx(284.53 + correction)


def test_t2m_without_the_models_orography_is_noted() -> None:
    state = fields()
    state = Fields(state.grid, TIME, LEVELS, state.upper, {"t2m": state.surface["t2m"]})
    operator = build_operator(state, observations("t2m", elevation=2000.0), None)
    assert operator.ok.all()
    assert "orography is unknown" in operator.notes[0]
    assert build_operator(
        state, observations("t2m", elevation=2000.0), np.zeros(state.grid.shape)
    ).qc.tolist() == [17]


def test_sp_from_the_models_own() -> None:
    state = fields(sp=np.array(99000.0), t2m=np.array(290.0))
    assert only(state, observations("sp", elevation=200.0)) == (pytest.approx(99000), 0)
    assert only(state, observations("sp", elevation=300.0))[0] == pytest.approx(
        99000 * np.exp(-9.80665 * 100 / (287.05 * 289.675)), rel=1e-5
    )
    assert [only(state, observations("sp", elevation=e))[1] for e in (np.nan, 800.0)] == [15, 17]


def test_sp_from_msl_reproduces_the_standard_atmosphere() -> None:
    state = fields(msl=np.array(101325.0), t2m=np.array(288.15 - 6.5e-3 * 200))
    for elevation in (-50.0, 0.0, 200.0, 480.0):
        assert only(state, observations("sp", elevation=elevation)) == (
            pytest.approx(standard_pressure(np.array(elevation))),
            0,
        )
    assert only(state, observations("sp", elevation=520.0))[1] == 17
    bare = Fields(state.grid, TIME, LEVELS, state.upper, {"msl": state.surface["msl"]})
    assert only(bare, observations("sp", elevation=300.0)) == (
        pytest.approx(standard_pressure(np.array(300.0))),
        0,
    )


def test_msl_needs_the_models_msl() -> None:
    state = fields(sp=np.array(99000.0))
    state = Fields(
        state.grid, TIME, LEVELS, state.upper, {k: state.surface[k] for k in ("sp", "orography")}
    )
    assert only(state, observations("msl"))[1] == QC.H_FAILED


def test_q2m() -> None:
    log_q = 1e-5 * 45.3
    assert only(fields(q2m=np.array(0.007)), observations("q2m", elevation=0.0)) == (
        pytest.approx(0.007),
        0,
    )
    at_3000 = 1e-3 * np.log(standard_pressure(np.array(3000.0))) + log_q
    assert only(fields(), observations("q2m", elevation=3000.0))[0] == pytest.approx(at_3000)
    assert only(fields(), observations("q2m", elevation=0.0))[0] == pytest.approx(
        1e-3 * np.log(92500) + log_q
    )
    dry = Fields(REGION, TIME, LEVELS, {}, {"t2m": np.zeros(REGION.shape)})
    assert only(dry, observations("q2m", elevation=0.0))[1] == QC.H_FAILED


def test_height_above_sea_level_uses_the_models_geopotential() -> None:
    state = fields()
    height = (1e6 - 8e4 * np.log(70000.0)) / 9.80665
    assert only(state, observations("u", height=height))[0] == pytest.approx(
        3 * 45.3 - 2.2 + 2 * np.log(70000), rel=1e-9
    )
    assert only(state, observations("u", height=5e4))[1] == 15
    assert only(state, observations("u", height=(1e6 - 8e4 * np.log(99000.0)) / 9.80665))[1] == 0


def test_operator_check_leaves_earlier_codes() -> None:
    table = observations("msl", [45.0, 65.0, 65.0]).assign(qc=np.array([0, 0, 41], np.int16))
    assert operator_check(table, build_operator(fields(), table, None))["qc"].tolist() == [
        0,
        13,
        41,
    ]


def test_no_observations() -> None:
    operator = build_operator(fields(), observations("msl").iloc[:0], None)
    assert operator.matrix.shape == (0, fields().vector().size)
    assert operator.apply(fields().vector()).shape == (0,)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "t850", "z500"), [("background", 3.01, 675.5), ("verifying_analysis", 1.57, 125.4)]
)
def test_misfit_of_era_interim_to_radiosondes(
    soundings: ReadResult, shared_data: Path, name: str, t850: float, z500: float
) -> None:
    with netCDF4.Dataset(shared_data / "cases" / "2008-12-08T12" / f"{name}.nc") as data:
        grid = Grid(np.array(data["latitude"]), np.array(data["longitude"]))
        z, t = (np.array(data[k]).reshape(grid.shape) for k in ("z500", "t850"))
    absent = np.full(grid.shape, np.nan)
    state = Fields(
        grid,
        np.datetime64("2008-12-08T12"),
        np.array([5e4, 85e3]),
        {"z": np.stack([z, absent]), "t": np.stack([absent, t])},
        {},
    )
    table = prepare(soundings.table, state)
    operator = build_operator(state, table, None)
    table = operator_check(table, operator)
    departure = table["value"].to_numpy() - operator.apply(state.vector())
    for variable, rms in (("t", t850), ("z", z500)):
        used = ((table["variable"] == variable) & (table["qc"] == 0)).to_numpy()
        assert used.sum() == 12
        assert np.sqrt(np.mean(departure[used] ** 2)) == pytest.approx(rms, rel=2e-3)

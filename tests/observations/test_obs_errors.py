"""Which error a row gets."""

import numpy as np
import pytest

from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.names import default_error
from phyda_cli.observations.errors import assign_errors, height_error
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.analysis import QualityControlSettings


def rows(**changes: object) -> object:
    columns = {
        "station_id": "a",
        "time": np.datetime64("2020-10-01"),
        "latitude": 45.0,
        "longitude": 2.0,
        "value": [280.0, 280.0],
    }
    return make(**(columns | changes))


def test_a_table_of_ones_own_by_variable_and_level() -> None:
    table = rows(variable=["t", "msl"], pressure=[np.sqrt(5e4 * 1e5), np.nan], value=[280.0, 1e5])
    error = assign_errors(table, errors={"t": ((500.0, 1.0), (1000.0, 3.0))})["error"]
    assert error.tolist() == pytest.approx([2.0, float(default_error("msl", np.array(np.nan)))])
    assert assign_errors(table, 2.0, errors={"msl": 50.0})["error"].iloc[1] == 100.0


def test_height_between_station_and_model_adds_to_defaults_only() -> None:
    table = rows(variable="t2m", error=[np.nan, 1.0])
    error = assign_errors(table, rise=np.array([-300.0, 300.0]))["error"]
    assert error.tolist() == pytest.approx([np.hypot(1.6, 0.6), 1.0])
    assert assign_errors(table, rise=np.array([np.nan, 0.0]))["error"].tolist() == [1.6, 1.0]
    assert (
        assign_errors(table, rise=np.array([300.0, 0.0]), height_scale=0.0)["error"].iloc[0] == 1.6
    )
    assert height_error(np.array(["t"]), np.array([400.0])) == 0


def test_reduced_pressure_is_doubted_with_the_height_of_the_station() -> None:
    grid = Grid(np.arange(60.0, 29.0, -1.5), np.arange(-20.0, 15.0, 1.5))
    surface = {"msl": np.full(grid.shape, 101000.0), "orography": np.full(grid.shape, 800.0)}
    background = Fields(grid, np.datetime64("2020-10-01"), np.zeros(0), {}, surface)
    table = rows(
        station_id=["a", "b"], variable="msl", value=[101000.0, 101000.0], elevation=[0.0, 1000.0]
    )
    settings = QualityControlSettings()
    assert prepare(table, background, settings=settings)["error"].tolist() == pytest.approx(
        [100, np.hypot(100, 120)]
    )
    limited = settings.model_copy(update={"msl_height_limit_m": 750.0})
    assert prepare(table, background, settings=limited)["qc"].tolist() == [QC.PASS, QC.DIFF_REF]


@pytest.mark.parametrize(
    "errors", [{"tt": 1.0}, {"t": -1.0}, {"t": ((1000.0, 1.0), (500.0, 1.0))}, {"t": ()}]
)
def test_wrong_tables_are_refused(errors: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"errors"):
        QualityControlSettings(errors=errors)


def test_a_height_gives_the_error_of_its_pressure() -> None:
    for name in ("u", "q", "t"):
        table = rows(variable=name, pressure=[25000.0, np.nan], height=[np.nan, 10363.0])
        aloft, by_height = assign_errors(table)["error"]
        assert by_height == pytest.approx(aloft, rel=0.01)

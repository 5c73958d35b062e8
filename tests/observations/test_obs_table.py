import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import PhydaError
from phyda_cli.names import canonical_observable
from phyda_cli.observations.table import COLUMNS, QC, check, concat, empty, longitudes_of, make


def table(**changes: object) -> pd.DataFrame:
    columns = {
        "station_id": "a",
        "time": np.datetime64("2020-01-01"),
        "latitude": 1.0,
        "longitude": 2.0,
        "variable": "t2m",
        "value": [280.0, 281.0],
    }
    return make(**(columns | changes))


def test_make_repeats_scalars_and_sets_every_column() -> None:
    made = table()
    assert list(made.columns) == list(COLUMNS)
    assert made["station_id"].tolist() == ["a", "a"]
    assert made["error"].isna().all()
    assert made["use"].tolist() == [1, 1]
    check(made)


def test_longitude_is_folded_only_where_it_is_readable() -> None:
    assert table(value=[1.0] * 5, longitude=[-180.0, -10.0, -1e-20, 360.0, 370.0])[
        "longitude"
    ].tolist() == [180.0, 350.0, 0.0, 0.0, 370.0]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"variable": "snow"}, "snow"),
        ({"time": np.datetime64("NaT")}, "time"),
        ({"latitude": 91.0}, "position"),
        ({"error": 0.0}, "error"),
        ({"use": 2}, "use"),
        ({"qc": 5}, "qc code"),
    ],
)
def test_check_names_the_broken_invariant(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(PhydaError, match=fault):
        check(table(**changes))


def test_check_lets_rejected_rows_be_wrong() -> None:
    check(table(latitude=91.0, qc=QC.DOMAIN))


def test_check_refuses_other_columns() -> None:
    with pytest.raises(PhydaError, match="expected columns"):
        check(table().drop(columns="row"))


def test_make_refuses_unknown_and_missing_columns() -> None:
    with pytest.raises(PhydaError, match="colour"):
        make(colour="red")


def test_concat_of_nothing_is_an_empty_table() -> None:
    check(empty())
    assert concat([]).equals(empty())
    assert len(concat([empty(), table(), table()])) == 4


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("2T", "t2m"), ("Td", "td"), ("10u", "u10"), ("orography", None), ("snow", None)],
)
def test_canonical_observable(name: str, canonical: str | None) -> None:
    assert canonical_observable(name) == canonical


@pytest.mark.parametrize(
    ("given", "span"),
    [((359, 3), (-1, 3)), ((170, 190), (170, 190)), ((9, 10), (9, 10)), ((-10, -5), (-10, -5))],
)
def test_a_span_of_longitudes_is_the_narrower_one(
    given: tuple[float, float], span: tuple[float, float]
) -> None:
    place = {"station_id": "a", "time": np.datetime64("2020-01-01", "ns"), "latitude": 0.0}
    found = longitudes_of(
        make(**place, longitude=np.array(given, float), variable="t", value=280.0)
    )
    assert (found.min(), found.max()) == span

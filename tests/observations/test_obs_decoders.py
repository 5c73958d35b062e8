"""Reports of the real BUFR files, drawn at random, against another decoder: pdbufr, and ecCodes for
the units."""

from __future__ import annotations

from pathlib import Path

import eccodes
import numpy as np
import pandas as pd
import pytest

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.read.bufr_messages import split
from phyda_cli.units import conversion

pdbufr = pytest.importorskip("pdbufr")
SYNOP, TEMP = "synop_20181102T12.bufr", "temp_20081208T12.bufr"
SURFACE = {
    "airTemperatureAt2M": "t2m",
    "dewpointTemperatureAt2M": "d2m",
    "windSpeedAt10M": "wind_speed",
    "windDirectionAt10M": "wind_direction",
    "pressureReducedToMeanSeaLevel": "msl",
    "nonCoordinatePressure": "sp",
}
ALOFT = {
    "airTemperature": "t",
    "dewpointTemperature": "td",
    "windSpeed": "wind_speed",
    "windDirection": "wind_direction",
    "nonCoordinateGeopotential": "z",
}
TIME = ["year", "month", "day", "hour", "minute"]
FULL = pytest.mark.slow


def drawn(path: Path, count: int | None, folder: Path) -> Path:
    """A file of ``count`` messages of ``path``, which has a report in each; all without a count."""
    messages, _ = split(path.read_bytes(), path.name)
    count = len(messages) if count is None else count
    chosen = np.random.default_rng(0).choice(len(messages), count, replace=False)
    out = folder / path.name
    out.write_bytes(b"".join(messages[i].content for i in sorted(chosen)))
    return out


def theirs(path: Path, elements: list[str], level: tuple[str, ...] = ()) -> pd.DataFrame:
    """Rows of ``elements``, as pdbufr reads them, in the order of the file."""
    needed = ["latitude", *level]
    columns = ["latitude", "longitude", *TIME, *level, *elements]
    rows = pdbufr.read_bufr(str(path), columns=columns, required_columns=needed)
    return rows.assign(time=pd.to_datetime(rows[TIME].fillna(0)))


def units(path: Path, elements: list[str]) -> dict[str, str]:
    """The units of ``elements`` in the first message that has them, as ecCodes names them."""
    found: dict[str, str] = {}
    with path.open("rb") as file:
        while len(found) < len(elements):
            handle = eccodes.codes_bufr_new_from_file(file)
            assert handle is not None, f"no {set(elements) - set(found)}"
            eccodes.codes_set(handle, "unpack", 1)
            for name in elements:
                if eccodes.codes_is_defined(handle, f"#1#{name}"):
                    found[name] = eccodes.codes_get(handle, f"#1#{name}->units", str)
            eccodes.codes_release(handle)
    return found


def compare(path: Path, names: dict[str, str], level: tuple[str, ...], least: int) -> int:
    """Values, times, positions and units of both decoders are the same; how many values."""
    table = read_bufr(path.read_bytes(), "x").table
    rows, told, compared = theirs(path, list(names), level), units(path, list(names)), 0
    for element, variable in names.items():
        ours, expected = table[table["variable"] == variable], rows.dropna(subset=[element])
        assert len(expected) == len(ours) > least, (element, len(expected), len(ours))
        scale, offset = conversion(told[element], OBSERVABLES[variable].units)
        np.testing.assert_allclose(
            ours["value"], scale * expected[element].to_numpy(float) + offset, err_msg=element
        )
        east = ours["longitude"].to_numpy() % 360, expected["longitude"].to_numpy(float) % 360
        np.testing.assert_allclose(*east, atol=1e-5)
        np.testing.assert_allclose(ours["latitude"], expected["latitude"], atol=1e-5)
        assert (ours["time"].to_numpy() == expected["time"].to_numpy()).all()
        for name in level:
            np.testing.assert_allclose(ours[name], expected[name])
        compared += len(ours)
    return compared


@pytest.mark.real_data
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=FULL)])
def test_surface_reports(shared_data: Path, tmp_path: Path, count: int) -> None:
    path = drawn(shared_data / "observations" / SYNOP, count, tmp_path)
    print(count, "reports", compare(path, SURFACE, (), count // 4), "values")


@pytest.mark.real_data
@pytest.mark.parametrize("count", [20, pytest.param(None, marks=FULL)])
def test_soundings(shared_data: Path, tmp_path: Path, count: int | None) -> None:
    path = drawn(shared_data / "observations" / TEMP, count, tmp_path)
    print(count or "all", "soundings", compare(path, ALOFT, ("pressure",), 300), "values")

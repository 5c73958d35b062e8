"""Reports of the real BUFR files, drawn at random, against another decoder: pdbufr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.read.bufr_messages import split

pdbufr = pytest.importorskip("pdbufr")
SURFACE = {
    "airTemperatureAt2M": "t2m",
    "dewpointTemperatureAt2M": "d2m",
    "windSpeedAt10M": "wind_speed",
    "pressureReducedToMeanSeaLevel": "msl",
    "nonCoordinatePressure": "sp",
}
TIME = ["year", "month", "day", "hour", "minute"]


def drawn(path: Path, count: int, folder: Path) -> Path:
    """A file of ``count`` messages of ``path``."""
    messages, _ = split(path.read_bytes(), path.name)
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


@pytest.mark.real_data
def test_surface_reports(shared_data: Path, tmp_path: Path) -> None:
    path = drawn(shared_data / "observations" / "synop_20181102T12.bufr", 1000, tmp_path)
    table = read_bufr(path.read_bytes(), "x").table
    rows = theirs(path, list(SURFACE))
    for element, variable in SURFACE.items():
        ours, expected = table[table["variable"] == variable], rows.dropna(subset=[element])
        assert len(expected) == len(ours) > 400, element
        east = ours["longitude"].to_numpy() % 360, expected["longitude"].to_numpy(float) % 360
        np.testing.assert_allclose(*east, atol=1e-5)
        np.testing.assert_allclose(ours["latitude"], expected["latitude"], atol=1e-5)
        np.testing.assert_allclose(ours["value"], expected[element])
        assert (ours["time"].to_numpy() == expected["time"].to_numpy()).all()


@pytest.mark.real_data
def test_soundings(shared_data: Path, tmp_path: Path) -> None:
    path = drawn(shared_data / "observations" / "temp_20081208T12.bufr", 40, tmp_path)
    table = read_bufr(path.read_bytes(), "x").table
    aloft = {"airTemperature": "t", "windSpeed": "wind_speed"}
    rows = theirs(path, list(aloft), ("pressure",))
    for element, variable in aloft.items():
        ours, expected = table[table["variable"] == variable], rows.dropna(subset=[element])
        assert len(expected) == len(ours) > 1000, element
        np.testing.assert_allclose(ours["pressure"], expected["pressure"])
        np.testing.assert_allclose(ours["value"], expected[element])

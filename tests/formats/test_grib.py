"""GRIB files made message by message: level types, scanning, missing points, members, times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest

from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.background import read_background

N_LAT, N_LON = 7, 12
LAT = np.linspace(90, -90, N_LAT)


def field(offset: float = 0.0) -> np.ndarray:
    """(7, 12), north to south, different at every point."""
    return 280 + offset + np.arange(N_LAT)[:, None] + np.arange(N_LON) / 100


def message(values: np.ndarray, *, edition: int = 2, first: float = 90.0, **keys: Any) -> bytes:
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_pl_grib{edition}")
    base = {
        "Ni": N_LON,
        "Nj": N_LAT,
        "latitudeOfFirstGridPointInDegrees": first,
        "latitudeOfLastGridPointInDegrees": -first,
        "longitudeOfFirstGridPointInDegrees": 0,
        "longitudeOfLastGridPointInDegrees": 330,
        "iDirectionIncrementInDegrees": 30,
        "jDirectionIncrementInDegrees": 30,
        "jScansPositively": int(first < 0),
        "dataDate": 20200229,
        "dataTime": 0,
        "bitsPerValue": 24,
    }
    for key, value in {**base, **keys}.items():
        eccodes.codes_set(handle, key, value)
    if np.isnan(values).any():
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", -1e6)
    eccodes.codes_set_values(handle, np.where(np.isnan(values), -1e6, values).ravel())
    packed: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return packed


def t(level: float, offset: float = 0.0, **keys: Any) -> bytes:
    return message(field(offset), shortName="t", typeOfLevel="isobaricInhPa", level=level, **keys)


def saved(folder: Path, *messages: bytes, name: str = "a.grib") -> Path:
    (folder / name).write_bytes(b"".join(messages))
    return folder / name


@pytest.mark.parametrize("edition", [1, 2])
def test_levels_and_values(tmp_path: Path, edition: int) -> None:
    found = read_background(
        saved(tmp_path, t(500, edition=edition), t(850, 5, edition=edition))
    ).fields
    assert found.levels.tolist() == [85000, 50000]
    assert found.time == np.datetime64("2020-02-29T00")
    np.testing.assert_allclose(found.upper["t"][1], field(), atol=1e-4)
    np.testing.assert_allclose(found.upper["t"][0], field(5), atol=1e-4)
    np.testing.assert_allclose(found.grid.latitude, LAT)


def test_south_to_north(tmp_path: Path) -> None:
    found = read_background(
        saved(
            tmp_path,
            message(
                field()[::-1], first=-90.0, shortName="t", typeOfLevel="isobaricInhPa", level=500
            ),
        )
    ).fields
    np.testing.assert_allclose(found.grid.latitude, LAT[::-1])
    np.testing.assert_allclose(found.upper["t"][0], field()[::-1], atol=1e-4)


def test_columns_first(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        message(
            field().T,
            shortName="t",
            typeOfLevel="isobaricInhPa",
            level=500,
            jPointsAreConsecutive=1,
        ),
    )
    np.testing.assert_allclose(read_background(path).fields.upper["t"][0], field(), atol=1e-4)


def test_same_name_on_several_level_types(tmp_path: Path) -> None:
    ground = message(field(9), shortName="t", typeOfLevel="surface", level=0)
    two = message(field(3), shortName="2t", typeOfLevel="heightAboveGround", level=2)
    height = message(field() * 10, shortName="z", typeOfLevel="surface", level=0)
    background = read_background(saved(tmp_path, ground, t(500), two, t(850), height))
    np.testing.assert_allclose(background.fields.surface["t2m"], field(3), atol=1e-4)
    np.testing.assert_allclose(
        background.fields.surface["orography"], field() * 10 / 9.80665, atol=1e-2
    )
    np.testing.assert_allclose(background.source["t_surface"].values[0], field(9), atol=1e-4)
    assert background.source["t"].dims == ("time", "isobaricInhPa", "latitude", "longitude")
    assert sorted(background.fields.upper) == ["t"]
    assert "z" not in background.fields.upper


def test_levels_above_one_hectopascal(tmp_path: Path) -> None:
    path = saved(
        tmp_path, t(500), message(field(), shortName="t", typeOfLevel="isobaricInPa", level=50)
    )
    assert read_background(path).fields.levels.tolist() == [50000, 50]


def test_levels_that_a_variable_lacks(tmp_path: Path) -> None:
    u = message(field() - 280, shortName="u", typeOfLevel="isobaricInhPa", level=500)
    found = read_background(saved(tmp_path, t(500), t(850), u)).fields
    assert np.isnan(found.upper["u"][0]).all()
    assert np.isfinite(found.upper["u"][1]).all()


def test_missing_points_are_left_out(tmp_path: Path) -> None:
    values = field()
    values[2, 3:5] = np.nan
    path = saved(tmp_path, message(values, shortName="t", typeOfLevel="isobaricInhPa", level=500))
    found = read_background(path)
    np.testing.assert_array_equal(np.isnan(found.fields.upper["t"][0]), np.isnan(values))


def test_forecast_steps_and_static_fields(tmp_path: Path) -> None:
    steps = [t(500, s, step=s) for s in (0, 6, 12)]
    orography = message(field() * 3, shortName="orog", typeOfLevel="surface", level=0, step=0)
    path = saved(tmp_path, orography, *steps)
    with pytest.raises(UsageError, match="2020-02-29T00:00, 2020-02-29T06:00, 2020-02-29T12:00"):
        read_background(path)
    found = read_background(path, time=np.datetime64("2020-02-29T12")).fields
    assert found.lead_hours == 12
    assert "orography" in found.surface
    np.testing.assert_allclose(found.upper["t"][0], field(12), atol=1e-4)


def test_members(tmp_path: Path) -> None:
    keys = {"productDefinitionTemplateNumber": 1}
    path = saved(tmp_path, *(t(500, m, **keys, perturbationNumber=m) for m in (0, 1, 2)))
    with pytest.raises(UsageError, match="ensemble of 3 members: 0, 1, 2"):
        read_background(path)
    np.testing.assert_allclose(
        read_background(path, member=2).fields.upper["t"][0], field(2), atol=1e-4
    )


def test_a_second_grid_is_left_out_and_said(tmp_path: Path) -> None:
    other = message(
        field(),
        shortName="lsm",
        typeOfLevel="surface",
        level=0,
        longitudeOfFirstGridPointInDegrees=15,
        longitudeOfLastGridPointInDegrees=345,
    )
    assert (
        "1 fields on another grid are left out"
        in read_background(saved(tmp_path, t(500), t(850), other)).notes
    )


def test_unsupported_grids(tmp_path: Path) -> None:
    handle = eccodes.codes_grib_new_from_samples("sh_pl_grib2")
    path = saved(tmp_path, eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    with pytest.raises(InputError, match="'sh' grid, which is not supported") as caught:
        read_background(path)
    assert "cdo sp2gpl" in caught.value.hint


def test_truncated_or_without_messages(tmp_path: Path) -> None:
    whole = t(500) + t(850)
    with pytest.raises(InputError, match="truncated or damaged after 1 fields"):
        read_background(saved(tmp_path, whole[:-20]))
    with pytest.raises(InputError, match=r"truncated or damaged|no GRIB message"):
        read_background(saved(tmp_path, b"GRIB"))

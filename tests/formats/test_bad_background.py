"""Files that are no usable background: a clear InputError with exit code 3, never a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import EXIT_INPUT, InputError
from phyda_cli.fields.mesh import Mesh
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_fields

from .samples import atmosphere


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_background(path)
    assert caught.value.exit_code == EXIT_INPUT
    assert str(path) in caught.value.message
    return caught.value.message


def changed(folder: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> Path:
    write_fields(folder / "good.nc", atmosphere(), overwrite=True)
    with xr.open_dataset(folder / "good.nc", engine="netcdf4") as dataset:
        change(dataset.load()).to_netcdf(folder / "bad.nc", engine="netcdf4")
    return folder / "bad.nc"


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "no.nc")
    (tmp_path / "empty.nc").touch()
    assert "is empty" in message(tmp_path / "empty.nc")
    (tmp_path / "image.nc").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    assert "it is a PNG image" in message(tmp_path / "image.nc")
    (tmp_path / "cds.nc").write_bytes(b"PK\x03\x04" + bytes(200))
    assert "ZIP archive (unzip it first)" in message(tmp_path / "cds.nc")
    (tmp_path / "text.grib").write_text("GRI")
    assert "unknown type" in message(tmp_path / "text.grib")
    assert "expected a file" in message(tmp_path)


@pytest.mark.parametrize(
    "kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF3_64BIT_DATA"]
)
@pytest.mark.parametrize("fraction", [0.002, 0.3, 0.98])
def test_truncated_netcdf(tmp_path: Path, kind: str, fraction: float) -> None:
    write_fields(tmp_path / "good.nc", atmosphere())
    with xr.open_dataset(tmp_path / "good.nc", engine="netcdf4") as dataset:
        for name in dataset.variables:
            dataset[name].encoding = {}
        records = {"unlimited_dims": ["time"]} if kind == "NETCDF3_64BIT" else {}
        dataset.to_netcdf(tmp_path / "whole.nc", engine="netcdf4", format=kind, **records)  # type: ignore[call-overload]
    whole = (tmp_path / "whole.nc").read_bytes()
    read_background(tmp_path / "whole.nc")
    (tmp_path / "cut.nc").write_bytes(whole[: max(int(len(whole) * fraction), 40)])
    text = message(tmp_path / "cut.nc")
    assert "truncated" in text or "cannot be opened" in text or "cannot be read" in text


def test_missing_points_are_left_out_and_said(tmp_path: Path) -> None:
    def punch(dataset: xr.Dataset) -> xr.Dataset:
        dataset["t"].values[0, 1, 2:4, 5] = np.nan
        dataset["msl"].values[0, 0, 0] = np.inf
        return dataset

    found = read_background(changed(tmp_path, punch))
    gaps = np.isnan(found.fields.upper["t"])
    assert gaps.sum() == 2
    assert gaps[1, 2:4, 5].all()
    assert np.isnan(found.fields.surface["msl"]).sum() == 1
    assert any("2 of 108 points at 850 hPa" in n for n in found.notes)


def test_a_variable_that_is_missing_everywhere_is_not_used(tmp_path: Path) -> None:
    def no_q(dataset: xr.Dataset) -> xr.Dataset:
        for name in ("q", "msl"):
            dataset[name].values[:] = np.nan
        return dataset

    found = read_background(changed(tmp_path, no_q))
    assert "q" not in found.fields.upper
    assert "msl" not in found.fields.surface
    assert {s.variable for s in found.sources} == {"z", "t", "u", "v", "t2m"}
    assert sum("missing everywhere" in n for n in found.notes) == 2

    def nothing(dataset: xr.Dataset) -> xr.Dataset:
        return dataset * np.nan

    assert "no usable value" in message(changed(tmp_path, nothing))


def test_wrong_units_are_recognised(tmp_path: Path) -> None:
    def celsius(dataset: xr.Dataset) -> xr.Dataset:
        dataset["t"] = dataset["t"].copy(data=dataset["t"] - 273.15)
        return dataset

    assert "look like degC" in message(changed(tmp_path, celsius))

    def hectopascal(dataset: xr.Dataset) -> xr.Dataset:
        dataset["msl"] = dataset["msl"].copy(data=dataset["msl"] / 100)
        return dataset

    assert "look like hPa" in message(changed(tmp_path, hectopascal))

    def height(dataset: xr.Dataset) -> xr.Dataset:
        dataset["z"] = dataset["z"].copy(data=dataset["z"] / 9.80665)
        return dataset

    assert "look like m" in message(changed(tmp_path, height))

    def nonsense(dataset: xr.Dataset) -> xr.Dataset:
        dataset["t"].attrs["units"] = "furlong"
        return dataset

    assert "t has units 'furlong', expected those of temperature such as 'K'" in message(
        changed(tmp_path, nonsense)
    )


def test_a_few_odd_points_are_tolerated(tmp_path: Path) -> None:
    def odd(dataset: xr.Dataset) -> xr.Dataset:
        dataset["t"].values[0, 0, 0, 0] = 400
        dataset["q"].values[0, :, :, ::2] = -1e-6
        return dataset

    read_background(changed(tmp_path, odd))


def test_unknown_variables_list_both_sides(tmp_path: Path) -> None:
    def rename(dataset: xr.Dataset) -> xr.Dataset:
        for variable in dataset.data_vars.values():
            variable.attrs.clear()
        return dataset.rename({n: f"thing_{n}" for n in dataset.data_vars})

    text = message(changed(tmp_path, rename))
    assert "found thing_z, thing_t" in text
    assert "looked for z, gh, t, u, v, q" in text


def test_model_levels_are_refused_with_the_reason(tmp_path: Path) -> None:
    def hybrid(dataset: xr.Dataset) -> xr.Dataset:
        dataset = dataset.rename(plev="lev").assign_coords(
            lev=("lev", [1, 2, 3, 4], {"units": "level", "standard_name": "hybrid"})
        )
        return dataset[["t", "u"]]

    with pytest.raises(InputError) as caught:
        read_background(changed(tmp_path, hybrid))
    assert "t (looks like t, but it lies on lev, not on pressure levels" in caught.value.hint


def test_grids_that_are_not_regular(tmp_path: Path) -> None:
    def curvilinear(dataset: xr.Dataset) -> xr.Dataset:
        lat, lon = np.meshgrid(
            dataset["latitude"].values, dataset["longitude"].values, indexing="ij"
        )
        dataset = dataset.drop_vars(["latitude", "longitude"]).rename(latitude="y", longitude="x")
        return dataset.assign_coords(latitude=(("y", "x"), lat), longitude=(("y", "x"), lon))

    found = read_background(changed(tmp_path, curvilinear)).fields
    assert isinstance(found.grid, Mesh)
    assert found.grid.shape == (9, 12)

    def points(dataset: xr.Dataset) -> xr.Dataset:
        return dataset.isel(
            latitude=xr.DataArray(range(9), dims="cell"),
            longitude=xr.DataArray(range(9), dims="cell"),
        )

    assert "a list of points" in message(changed(tmp_path, points))
    text = message(
        changed(tmp_path, lambda d: d.drop_vars("latitude").rename(latitude="south_north"))
    )
    assert "has no latitude: looked for latitude, lat" in text
    assert "found" in text


def test_latitude_out_of_range(tmp_path: Path) -> None:
    assert "within -90..90" in message(
        changed(tmp_path, lambda d: d.assign_coords(latitude=d.latitude + 15))
    )

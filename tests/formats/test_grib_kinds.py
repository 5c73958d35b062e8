"""What GRIB keys say of a message: spreads, probabilities and sums are no state; grids that cannot
be placed; longitudes that run eastwards; a file is scanned once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest

from phyda_cli.errors import EXIT_INPUT, InputError
from phyda_cli.files import worker
from phyda_cli.formats import grib_messages
from phyda_cli.formats.background import read_background
from phyda_cli.formats.ensemble import member_labels, read_ensemble
from phyda_cli.formats.grib_messages import scan

from .test_grib import N_LAT, N_LON, field, message, saved, t


def u(offset: float = 0.0, **keys: Any) -> bytes:
    return message(
        field(offset) - 280, shortName="u", typeOfLevel="isobaricInhPa", level=850, **keys
    )


def mars(kind: str) -> dict[str, Any]:
    """Keys of an ECMWF message of that data type, GRIB1."""
    return {"edition": 1, "centre": "ecmf", "setLocalDefinition": 1, "dataType": kind}


@pytest.mark.parametrize("order", [("es", "em"), ("em", "es"), ("ep", "em"), ("efi", "fc")])
def test_ecmwf_data_types(tmp_path: Path, order: tuple[str, str]) -> None:
    state = next(k for k in order if k in ("em", "fc"))
    path = saved(tmp_path, *(u(0.0 if k == state else 3.0, **mars(k)) for k in order))
    found = read_background(path)
    np.testing.assert_allclose(found.fields.upper["u"][0], field() - 280, atol=1e-3)
    other = next(k for k in order if k != state)
    assert any(f"dataType {other}" in n for n in found.notes)


@pytest.mark.parametrize(("derived", "used"), [(0, True), (1, True), (2, False), (4, False)])
def test_derived_forecasts(tmp_path: Path, derived: int, used: bool) -> None:
    keys = {"productDefinitionTemplateNumber": 2, "derivedForecast": derived}
    path = saved(tmp_path, u(2.0, **keys))
    if used:
        assert "u" in read_background(path).fields.upper
    else:
        with pytest.raises(InputError, match=f"derivedForecast {derived}") as caught:
            read_background(path)
        assert caught.value.exit_code == EXIT_INPUT


@pytest.mark.parametrize(("process", "used"), [(0, True), (2, True), (6, False), (9, False)])
def test_generating_processes(tmp_path: Path, process: int, used: bool) -> None:
    path = saved(tmp_path, u(typeOfGeneratingProcess=process), t(500, -30))
    assert ("u" in read_background(path).fields.upper) == used


@pytest.mark.parametrize("stream", ["moda", "mnth"])
def test_monthly_means(tmp_path: Path, stream: str) -> None:
    keys = mars("an") | {"stream": stream}
    with pytest.raises(InputError, match=stream):
        read_background(saved(tmp_path, u(**keys)))


def test_a_layer_between_pressures_is_no_level(tmp_path: Path) -> None:
    layer = {"typeOfLevel": "isobaricLayer", "topLevel": 500, "bottomLevel": 1000}
    found = read_background(saved(tmp_path, t(850), message(field(9), shortName="t", **layer)))
    assert found.fields.levels.tolist() == [85000]
    np.testing.assert_allclose(found.fields.upper["t"][0], field(), atol=1e-3)


def test_levels_of_height_and_geopotential_complete_each_other(tmp_path: Path) -> None:
    z, gh = field() * 175, field() * 5
    on = {"typeOfLevel": "isobaricInhPa"}
    messages = (
        message(z, shortName="z", level=500, **on),
        message(gh, shortName="gh", level=850, **on),
    )
    found = read_background(saved(tmp_path, *messages))
    assert not np.isnan(found.fields.upper["z"]).any()
    assert not any("already" in n for n in found.notes)


@pytest.mark.parametrize("template", [5, 6])
def test_probabilities_and_percentiles(tmp_path: Path, template: int) -> None:
    path = saved(tmp_path, u(2.0, productDefinitionTemplateNumber=template), t(850))
    found = read_background(path)
    assert sorted(found.fields.upper) == ["t"]
    assert any(f"template {template}" in n for n in found.notes)


def test_sums_and_extremes_over_time_are_no_state(tmp_path: Path) -> None:
    over_time = {"productDefinitionTemplateNumber": 8, "stepRange": "0-6"}
    mean, highest = (
        u(9.0, **over_time, typeOfStatisticalProcessing=k) for k in (0, 2)
    )  # before what is instantaneous
    path = saved(tmp_path, mean, highest, u(0.0, step=6))
    found = read_background(path)
    np.testing.assert_allclose(found.fields.upper["u"][0], field() - 280, atol=1e-3)
    assert len(found.sources) == 1


def test_a_mean_beside_members_is_left_out(tmp_path: Path) -> None:
    members = [u(float(m), productDefinitionTemplateNumber=1, perturbationNumber=m) for m in (0, 1)]
    mean = u(7.0, productDefinitionTemplateNumber=2, derivedForecast=0)
    path = saved(tmp_path, mean, *members)
    assert member_labels(path) == [0, 1]
    found, ensemble = read_ensemble([path])
    np.testing.assert_allclose(ensemble[0].upper["u"][0], field() - 280, atol=1e-3)
    np.testing.assert_allclose(found.fields.upper["u"][0], field(0.5) - 280, atol=1e-3)
    assert any("mean" in n and "left out" in n for n in found.notes)


def test_a_file_is_scanned_once_also_for_an_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process that reads; a worker keeps what it has scanned."""
    monkeypatch.setattr(worker, "_serving", True)
    count = 0
    scanned = grib_messages.fields_in_order

    def counted(path: Path) -> Iterator[Any]:
        nonlocal count
        count += 1
        return scanned(path)

    monkeypatch.setattr(grib_messages, "fields_in_order", counted)
    keys = {"productDefinitionTemplateNumber": 1}
    path = saved(tmp_path, *(t(500, m, **keys, perturbationNumber=m) for m in range(5)))
    assert len(member_labels(path)) == 5
    assert len(scan(path)[0]) == 5
    assert count == 1
    saved(tmp_path, *(t(500, m, **keys, perturbationNumber=m) for m in range(4)))
    assert len(member_labels(path)) == 4
    assert count == 2


def test_a_grid_that_ecCodes_cannot_place(tmp_path: Path) -> None:
    handle = eccodes.codes_grib_new_from_samples("regular_gg_pl_grib2")
    size = eccodes.codes_get(handle, "Ni") * eccodes.codes_get(handle, "Nj")
    eccodes.codes_set_values(handle, 280.0 + np.arange(size) % 7)
    eccodes.codes_set(handle, "N", eccodes.codes_get(handle, "N") + 16)
    path = saved(tmp_path, eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    with pytest.raises(InputError, match="inconsistently") as caught:
        read_background(path)
    assert caught.value.exit_code == EXIT_INPUT


@pytest.mark.parametrize(
    ("first", "last", "step", "expected"),
    [(0, -30000, 30, np.arange(N_LON) * 30.0), (175000, -174000, 1, 175.0 + np.arange(N_LON))],
)
def test_longitudes_increase(
    tmp_path: Path, first: int, last: int, step: int, expected: np.ndarray
) -> None:
    path = saved(
        tmp_path,
        message(
            field(),
            edition=1,
            shortName="t",
            typeOfLevel="isobaricInhPa",
            level=500,
            longitudeOfFirstGridPoint=first,
            longitudeOfLastGridPoint=last,
            iDirectionIncrementInDegrees=step,
        ),
    )
    found = read_background(path)
    np.testing.assert_allclose(found.source["longitude"], expected)
    np.testing.assert_allclose(found.fields.upper["t"][0], field(), atol=1e-4)
    assert found.fields.upper["t"].shape == (1, N_LAT, N_LON)


def test_the_process_ends_well_with_a_second_proj() -> None:
    pytest.importorskip("pyproj")
    code = "import phyda_cli.formats.grib, eccodes, pyproj; print(pyproj.CRS(4326).name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["netcdf", "zarr"])
def test_formats_whose_opening_may_load_plug_ins_load_pyproj_first(module: str) -> None:
    pytest.importorskip("pyproj")
    code = f"import sys, phyda_cli.formats.{module}; sys.exit('pyproj' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_single_levels_of_ecmwf_grib_1_are_all_at_the_surface(tmp_path: Path) -> None:
    """Their names say more than their type of level: msl is no surface pressure, 2t is at 2 m."""
    values = {"msl": 101300.0, "sp": 95000.0, "2t": 288.0, "10u": 5.0}
    with (tmp_path / "fc.grib").open("wb") as file:
        for name, value in values.items():
            handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            eccodes.codes_set(handle, "shortName", name)
            size = eccodes.codes_get_size(handle, "values")
            eccodes.codes_set_values(handle, np.full(size, value))
            assert eccodes.codes_get(handle, "typeOfLevel") == "surface"
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    found = read_background(tmp_path / "fc.grib").fields.surface
    for name, value in {"msl": 101300.0, "sp": 95000.0, "t2m": 288.0, "u10": 5.0}.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4)

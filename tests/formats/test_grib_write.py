"""An analysis as GRIB: messages, keys and values against the background's and the NetCDF output."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import eccodes
import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import UsageError
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.ensemble import read_ensemble
from phyda_cli.formats.write import check_format, write_analysis

from .test_grib import field, message, saved, t
from .test_write import apply

KEYS = ["gridType", "packingType", "shortName", "typeOfLevel", "level", "dataDate", "dataTime"]
KEYS += ["stepRange", "Ni", "Nj", "bitmapPresent", "centre", "decimalScaleFactor"]


def keys(handle: int, names: list[str]) -> list[object]:
    return [eccodes.codes_get(handle, k) for k in names if eccodes.codes_is_defined(handle, k)]


def messages(path: Path) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            yield handle, eccodes.codes_get_message(handle)
            eccodes.codes_release(handle)


def written(background: Background, folder: Path) -> tuple[Path, xr.Dataset]:
    """The analysis as GRIB, and as NetCDF."""
    analysis, increment, spread = apply(background)
    kept = {n: v for n, v in increment.surface.items() if n in background.fields.surface}
    increment = replace(increment, surface=kept)
    for name in ("an.grib2", "an.nc"):
        write_analysis(folder / name, background, analysis, increment, spread)
    return folder / "an.grib2", xr.load_dataset(folder / "an.nc", engine="netcdf4")


@pytest.mark.parametrize("edition", [1, 2])
def test_only_analysed_messages_change(tmp_path: Path, edition: int) -> None:
    other = message(field(), edition=edition, shortName="skt", typeOfLevel="surface", level=0)
    gaps = field(5)
    gaps[2, 3] = np.nan
    cold = message(gaps, edition=edition, shortName="t", typeOfLevel="isobaricInhPa", level=850)
    path = saved(tmp_path, t(500, edition=edition), other, cold)
    out, netcdf = written(read_background(path), tmp_path)
    old, new = list(messages(path)), list(messages(out))
    assert [a[1] == b[1] for a, b in zip(old, new, strict=True)] == [False, True, False]
    with open(path, "rb") as f, open(out, "rb") as g:
        for _ in range(3):
            before, after = (eccodes.codes_grib_new_from_file(x) for x in (f, g))
            assert keys(before, KEYS[:-1]) == keys(after, KEYS[:-1])
            if edition == 2 and eccodes.codes_get(after, "shortName") == "t":
                assert keys(after, ["typeOfGeneratingProcess", "dataType"]) == [0, "an"]
    again = read_background(out)
    np.testing.assert_allclose(again.source["t"].values, netcdf["t"].values, atol=1e-5)
    assert np.isnan(again.source["t"].values).sum() == 1


def test_constant_fields_get_bits(tmp_path: Path) -> None:
    path = saved(tmp_path, message(np.full((7, 12), 280.0), shortName="t", level=500))
    out, netcdf = written(read_background(path), tmp_path)
    np.testing.assert_allclose(
        read_background(out).source["t"].values, netcdf["t"].values, atol=2e-4
    )


def test_of_an_ensemble_the_member(tmp_path: Path) -> None:
    path = saved(
        tmp_path, *(t(500, n, productDefinitionTemplateNumber=1, number=n) for n in (0, 1))
    )
    out, _ = written(read_background(path, member=1), tmp_path)
    ((handle, _),) = [(eccodes.codes_get(h, "number"), m) for h, m in messages(out)]
    assert handle == 1
    with pytest.raises(UsageError, match="mean"):
        check_format(out, read_ensemble([path])[0])


def test_dates_of_another_time_are_refused(tmp_path: Path) -> None:
    found = read_background(saved(tmp_path, t(500)))
    check_format(tmp_path / "an.grib2", found)
    later = replace(found.fields, time=found.fields.time + np.timedelta64(1, "h"))
    with pytest.raises(UsageError, match="valid-time"):
        check_format(tmp_path / "an.grib2", replace(found, fields=later))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("gfs_2p5deg_20110110T12_f120.grib2", {"t": 0.1, "gh": 0.01, "u": 0.1, "v": 0.1}),
        ("ecmwf_10deg_pl.grib", {"t": 2e-3, "z": 0.25, "u": 2e-3}),
    ],
)
def test_real_files(shared_data: Path, tmp_path: Path, name: str, steps: dict[str, float]) -> None:
    """Each value within the step of the file's own packing; also fields that share a message."""
    path = shared_data / "forecasts" / name
    time = None if name.startswith("gfs") else np.datetime64("2024-06-03T00:00")
    background = read_background(path, time)
    out, netcdf = written(background, tmp_path)
    again = read_background(out).source
    for variable, step in steps.items():
        np.testing.assert_allclose(again[variable].values, netcdf[variable].values, atol=step)
    if time is None:
        assert sum(1 for _ in messages(out)) == sum(1 for _ in messages(path)) == 307
    if shutil.which("cdo"):
        listed = subprocess.run(
            ["cdo", "-s", "showname", out], capture_output=True, text=True, check=True
        )
        assert {"t", "u"} <= set(listed.stdout.split())

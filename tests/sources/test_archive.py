"""Archives in Zarr behind HTTP: what is downloaded is what is there, whatever the network does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import archive_server
import numpy as np
import pytest
import xarray as xr
from archive_server import ERA5, GRID, HRES, QUICK, Quiet, Server, serving

from phyda_cli.errors import BusyError, InputError, OutputError, UsageError
from phyda_cli.files.publish import sha256
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.data import DownloadSettings, PreprocessSettings
from phyda_cli.sources.archive import Origin, download_archive
from phyda_cli.sources.folder import alone
from phyda_cli.sources.http import Client

HOUR = np.timedelta64(1, "h")
TIMES = np.datetime64("2018-01-01T00", "ns") + 6 * HOUR * np.arange(4 * 59)  # January and February
STARTS = np.datetime64("2018-01-03T00", "ns") + 12 * HOUR * np.arange(5)
SETTINGS = {"years": "2018", "levels": "500,850", "variables": "z,t,u,msl", "leads": "6,24"}
Download = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return archive_server.analyses(TIMES)


@pytest.fixture(scope="module")
def stores(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WeatherBench 2's layout: analyses in chunks that straddle months, forecasts that are 1 K too
    warm an hour of lead."""
    root = tmp_path_factory.mktemp("weatherbench2")
    analyses = archive_server.archive(truth)
    analyses["surface_pressure"] = analyses["mean_sea_level_pressure"].assign_attrs(
        units="of another planet"
    )  # nobody asks for it
    archive_server.write_store(root / ERA5, analyses, {"time": 100})
    leads = np.arange(0, 54, 6) * HOUR.astype("timedelta64[ns]")
    fields = truth.drop_vars(["orography", "lsm"])
    each = [fields.sel(time=STARTS + lead).assign_coords(time=STARTS) for lead in leads]
    forecasts = xr.concat(
        [f.assign(t=f["t"] + np.float32(lead / HOUR)) for f, lead in zip(each, leads, strict=True)],
        "prediction_timedelta",
    )
    forecasts = archive_server.archive(forecasts.assign_coords(prediction_timedelta=leads))
    archive_server.write_store(root / HRES, forecasts, {"time": 1})
    return root


@pytest.fixture
def server(stores: Path) -> Iterator[Server]:
    with serving(Server(stores)) as running:
        yield running


@pytest.fixture
def download(server: Server, tmp_path: Path) -> Download:
    """Download into ``tmp_path / "era5"`` from the server; keywords are settings, ``said`` collects
    what is reported."""

    def run(
        folder: str = "era5",
        said: list[str] | None = None,
        origin: dict[str, Any] | None = None,
        options: Any = None,
        **settings: str,
    ) -> list[Path]:
        asked = Origin(**({"source": "weatherbench2", "url": server.url} | (origin or {})))
        wanted = DownloadSettings.model_validate(SETTINGS | settings)
        lines = [] if said is None else said
        with Client(QUICK) as client:
            return download_archive(
                tmp_path / folder, asked, wanted, client, Quiet(), lines.append, **(options or {})
            )

    return run


def test_files_hold_what_the_archive_holds(
    download: Download, truth: xr.Dataset, server: Server, tmp_path: Path
) -> None:
    said: list[str] = []
    files = download(said=said)
    assert [f.name for f in files] == ["analysis_2018-01.nc", "analysis_2018-02.nc"]
    with xr.concat([xr.open_dataset(f) for f in files], "time", data_vars="minimal") as found:
        wanted = truth.sel(level=[500, 850])
        for name in ("z", "t", "u", "msl"):
            np.testing.assert_array_equal(
                found[name].transpose(*wanted[name].dims).values, wanted[name].values
            )
            assert (
                found[name].attrs["units"]
                == {"z": "m2 s-2", "t": "K", "u": "m s-1", "msl": "Pa"}[name]
            )
        np.testing.assert_allclose(found["orography"].values, truth["orography"].values, rtol=1e-6)
        np.testing.assert_array_equal(found["time"].values, TIMES)
        assert found["level"].values.tolist() == [500, 850]
        assert "v" not in found
        assert "Copernicus Climate Change Service" in found.attrs["source"]
        assert found.attrs["license"]
        assert found.attrs["archive"] == f"{server.url}/{ERA5}"
    manifest = json.loads((tmp_path / "era5" / "manifest.json").read_text())
    assert {n: e["sha256"] for n, e in manifest["files"].items()} == {
        f.name: sha256(f) for f in files
    }
    assert any("2018-03 … 2018-12 (10 months)" in line for line in said)
    assert any(
        "2 files on a grid of 16x8" in line and "requests" in line and "free" in line
        for line in said
    )
    chunks = {path: n for path, n in server.asked.items() if "/temperature/" in path}
    assert len(chunks) == 3
    assert (
        max(chunks.values()) <= 2
    )  # a look at its size and one transfer, also of the chunk that two months share


def test_preprocess_takes_the_folder(download: Download, tmp_path: Path) -> None:
    files = download(origin={"forecasts": "hres"})
    assert [f.name for f in files if f.name.startswith("forecast")] == [
        f"forecast_{str(s)[:13]}.nc" for s in STARTS
    ]
    inputs = sorted((tmp_path / "era5").glob("*.nc"))
    count = preprocess(
        inputs,
        tmp_path / "pairs.zarr",
        PreprocessSettings(grid="as-is", channels=("z500", "t850", "msl")),
    )
    assert count == 2 * STARTS.size
    store = PairStore.open(tmp_path / "pairs.zarr")
    states = store.load_states()
    error = states[store.pairs[:, 0]] - states[store.pairs[:, 1]]
    np.testing.assert_allclose(
        error[:, 1], np.broadcast_to(store.lead[:, None, None], error[:, 1].shape), atol=1e-3
    )
    np.testing.assert_array_equal(error[:, [0, 2]], 0)
    assert sorted(set(store.lead.tolist())) == [6, 24]
    assert store.statics["orography"].max() == pytest.approx(300, rel=1e-5)
    lagged = PreprocessSettings(grid="as-is", channels=("z500",), pairs=("lagged",))
    assert preprocess(inputs, tmp_path / "lagged.zarr", lagged) == TIMES.size - 4


def test_a_bad_network_changes_nothing(download: Download, server: Server, tmp_path: Path) -> None:
    clean = download(folder="clean", origin={"forecasts": "hres"})
    server.asked.clear()
    faults = ["drop", "429", "truncate", "500"]
    server.fault = lambda path, count: faults[(len(path) + count) % 4] if count < 3 else None
    for before, after in zip(clean, download(origin={"forecasts": "hres"}), strict=True):
        with xr.open_dataset(before) as a, xr.open_dataset(after) as b:
            xr.testing.assert_equal(a, b)


def test_area_levels_and_hours(download: Download, truth: xr.Dataset) -> None:
    file = download(area="60,-50,-30,50", hours="12", levels="300", variables="geopotential")[0]
    with xr.open_dataset(file) as found:
        assert np.all(found["time"].dt.hour == 12)
        assert found.sizes["time"] == 31
        longitude = found["longitude"].values
        np.testing.assert_allclose(longitude, [-45, -22.5, 0, 22.5, 45])
        inside = truth.sel(time=found["time"], level=[300], longitude=longitude % 360)
        inside = inside.isel(
            latitude=(inside["latitude"].values >= -30) & (inside["latitude"].values <= 60)
        )
        np.testing.assert_array_equal(found["z"].values, inside["z"].values)


def test_what_is_complete_is_not_fetched_again(
    download: Download, server: Server, tmp_path: Path
) -> None:
    files = download()
    before = {f: f.stat().st_mtime_ns for f in files}
    server.asked.clear()
    said: list[str] = []
    assert download(said=said) == files
    assert {f: f.stat().st_mtime_ns for f in files} == before
    assert not [path for path, n in server.asked.items() if "/temperature/" in path and n > 1]
    assert any("2 files are there already" in line for line in said)
    content = bytearray(files[0].read_bytes())
    content[-10] ^= 0xFF
    files[0].write_bytes(content)
    download()
    assert files[0].read_bytes() == content  # the size is right: only a checksum can tell
    download(options={"verify": True})
    assert files[0].read_bytes() != content
    files[1].write_bytes(files[1].read_bytes()[:-100])
    download()
    assert (
        files[1].stat().st_size
        == json.loads((tmp_path / "era5" / "manifest.json").read_text())["files"][files[1].name][
            "bytes"
        ]
    )


def test_a_file_finished_before_a_kill_but_not_listed_counts(
    download: Download, tmp_path: Path
) -> None:
    files = download()
    manifest = tmp_path / "era5" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["files"][files[0].name], content["files"][files[1].name]
    manifest.write_text(json.dumps(content))
    files[1].write_bytes(files[1].read_bytes()[:5000])
    before = files[0].stat().st_mtime_ns
    download()
    assert files[0].stat().st_mtime_ns == before
    assert files[1].stat().st_size > 5000
    assert set(json.loads(manifest.read_text())["files"]) == {f.name for f in files}


@pytest.mark.parametrize(
    "change",
    [
        {"levels": "300"},
        {"variables": "z,t"},
        {"area": "60,-50,-30,50"},
        {"hours": "0,12"},
        {"origin": {"resolution": "240x121"}},
        {"origin": {"source": "arco"}},
    ],
)
def test_one_folder_holds_one_source(
    download: Download, tmp_path: Path, change: dict[str, Any]
) -> None:
    files = download()
    before = {p: p.read_bytes() for p in files}
    with pytest.raises(UsageError, match="of another request") as caught:
        download(**change)
    assert caught.value.exit_code == 2
    assert {p: p.read_bytes() for p in files} == before


def test_a_folder_of_other_files_is_left_alone(download: Download, tmp_path: Path) -> None:
    (tmp_path / "era5").mkdir()
    (tmp_path / "era5" / "analysis_0000.nc").write_bytes(b"a nature run")
    with pytest.raises(UsageError, match="analysis_0000"):
        download()
    assert len(list((tmp_path / "era5").iterdir())) == 1


def test_two_downloads_do_not_share_a_folder(download: Download, tmp_path: Path) -> None:
    with alone(tmp_path / "era5"), pytest.raises(BusyError) as caught:
        download()
    assert caught.value.exit_code == 75
    assert len(download()) == 2


def test_a_dry_run_writes_nothing(download: Download, server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    assert download(said=said, options={"dry_run": True}, origin={"forecasts": "hres"}) == []
    assert not (tmp_path / "era5").exists()
    chunks = (
        4 * 3 + 2 + 4 * STARTS.size
    )  # variables in three chunks of time, two static fields, a chunk for each start
    assert any(
        f"{2 + STARTS.size} files" in line and f"{chunks} requests, about" in line for line in said
    )
    size = sum(f.stat().st_size for f in download(origin={"forecasts": "hres"}))
    stated = (
        next(line for line in said if "on disk" in line).split("network, ")[1].split(" on disk")[0]
    )
    assert float(stated.split()[0]) * {"kB": 1e3, "MB": 1e6}[stated.split()[1]] == pytest.approx(
        size, rel=0.25
    )


def test_a_full_disk_is_seen_before(
    download: Download, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"needs .* are free"):
        download()
    assert not (tmp_path / "era5").exists()


def test_holes_and_damage_in_the_archive_are_named(
    stores: Path, tmp_path: Path, truth: xr.Dataset
) -> None:
    def attempt(server: Server) -> None:
        with Client(QUICK) as client:
            wanted = DownloadSettings.model_validate(SETTINGS)
            download_archive(
                tmp_path / "out",
                Origin("weatherbench2", url=server.url),
                wanted,
                client,
                Quiet(),
                lambda _: None,
            )

    broken = tmp_path / "stores"
    shutil.copytree(stores, broken)
    chunk = broken / ERA5 / "temperature" / "1.0.0.0"
    content = chunk.read_bytes()
    with serving(Server(broken)) as server:
        chunk.unlink()
        with pytest.raises(InputError, match=r"t at 2018-01-26T00: 256 of 256 values are missing"):
            attempt(server)
        chunk.write_bytes(content[: len(content) // 3])
        with pytest.raises(InputError, match="temperature"):
            attempt(server)
        assert not list((tmp_path / "out").glob("*.nc"))
        chunk.write_bytes(content)
        attempt(server)
        assert len(list((tmp_path / "out").glob("*.nc"))) == 2


def test_what_the_archive_has_not(download: Download) -> None:
    with pytest.raises(
        UsageError, match="--levels 250: not in the archive, which has 300, 500, 850"
    ):
        download(levels="250,500")
    with pytest.raises(UsageError, match="--variables d2m"):
        download(variables="t,d2m")
    with pytest.raises(UsageError, match="none of the months"):
        download(years="1990")
    with pytest.raises(UsageError, match="--leads 7"):
        download(leads="7", origin={"forecasts": "hres"})
    with pytest.raises(
        UsageError, match="--resolution 10x5: weatherbench2 has 64x32, 240x121, 1440x721"
    ):
        download(origin={"resolution": "10x5"})
    with pytest.raises(InputError, match="is not a Zarr store"):
        download(folder="other", origin={"resolution": "240x121"})


def test_arco_ends_where_its_data_end(tmp_path: Path, truth: xr.Dataset) -> None:
    north_up = truth.isel(latitude=slice(None, None, -1)).transpose(
        "time", "level", "latitude", "longitude", ...
    )
    data = archive_server.archive(north_up).transpose("time", "level", "latitude", "longitude")
    for name in (
        "geopotential_at_surface",
        "land_sea_mask",
    ):  # there they have a time, and nothing at the first ones
        data[name] = (
            data[name].expand_dims(time=data["time"]).where(data["time"] > TIMES[0] - 1 * HOUR)
        )
    data.attrs = {"valid_time_start": "2018-01-01", "valid_time_stop": "2018-02-20"}
    archive_server.write_store(tmp_path / archive_server.ARCO, data, {"time": 1})
    said: list[str] = []
    with serving(Server(tmp_path)) as server, Client(QUICK) as client:
        wanted = DownloadSettings.model_validate(SETTINGS | {"hours": "0"})
        files = download_archive(
            tmp_path / "era5", Origin("arco", url=server.url), wanted, client, Quiet(), said.append
        )
    assert [f.name for f in files] == ["analysis_2018-01.nc"]
    with xr.open_dataset(files[0]) as found:
        np.testing.assert_array_equal(found["latitude"].values, GRID.latitude[::-1])
        np.testing.assert_array_equal(
            found["t"].values, north_up["t"].sel(time=found["time"], level=[500, 850]).values
        )

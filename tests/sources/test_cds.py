"""ERA5 through the Climate Data Store's interface, against a stub of it on localhost that answers
with real GRIB."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr
from archive_server import QUICK, Quiet

from phyda_cli.errors import InputError, UsageError
from phyda_cli.settings.data import DownloadSettings
from phyda_cli.sources import cds_months
from phyda_cli.sources.archive import Origin, download_archive
from phyda_cli.sources.catalogue import ARCHIVES
from phyda_cli.sources.http import Client

SHORT = {"temperature": "t", "geopotential": "z", "2m_temperature": "2t", "land_sea_mask": "lsm"}
SETTINGS = {
    "years": "2020",
    "hours": "0,12",
    "levels": "500,850",
    "variables": "t,t2m",
    "area": "60,-20,30,20",
}
STEP = 10.0


def value(
    short: str, level: float, day: int, hour: int, lat: np.ndarray, lon: np.ndarray
) -> np.ndarray:
    """A field that tells its name, place and time."""
    start = {"t": 220 + level / 20, "z": 100.0, "2t": 280.0, "lsm": 0.3}[short]
    size = 0.001 if short == "lsm" else 1.0
    return start + size * (
        0.1 * day + 0.01 * hour + np.cos(np.deg2rad(lat))[:, None] + np.sin(np.deg2rad(lon))[None]
    )


def grib(inputs: dict[str, Any], preliminary_from: int) -> bytes:
    """What the store makes of a request: GRIB1 with ERA5's local section; expver 5 from some day
    on."""
    north, west, south, east = inputs["area"]
    lat, lon = (
        np.arange(north, south - 1, -inputs["grid"][0]),
        np.arange(west, east + 1, inputs["grid"][0]),
    )
    out = []
    for name in inputs["variable"]:
        for level in map(int, inputs.get("pressure_level", ["0"])):
            handle = eccodes.codes_grib_new_from_samples(
                "regular_ll_pl_grib1" if level else "regular_ll_sfc_grib1"
            )
            keys = {
                "Ni": lon.size,
                "Nj": lat.size,
                "latitudeOfFirstGridPointInDegrees": lat[0],
                "longitudeOfFirstGridPointInDegrees": lon[0] % 360,
                "latitudeOfLastGridPointInDegrees": lat[-1],
                "longitudeOfLastGridPointInDegrees": lon[-1] % 360,
                "iDirectionIncrementInDegrees": STEP,
                "jDirectionIncrementInDegrees": STEP,
                "shortName": SHORT[name],
                "bitsPerValue": 24,
                **({"level": level} if level else {}),
            }
            for key, wanted in keys.items():
                eccodes.codes_set(handle, key, wanted)
            for day in map(int, inputs["day"]):
                eccodes.codes_set(
                    handle, "dataDate", int(f"{inputs['year'][0]}{inputs['month'][0]}{day:02d}")
                )
                eccodes.codes_set(handle, "expver", "0005" if day >= preliminary_from else "0001")
                for hour in (int(t[:2]) for t in inputs["time"]):
                    eccodes.codes_set(handle, "dataTime", 100 * hour)
                    eccodes.codes_set_values(
                        handle, value(SHORT[name], level, day, hour, lat, lon).ravel()
                    )
                    out.append(eccodes.codes_get_message(handle))
            eccodes.codes_release(handle)
    return b"".join(out)


class Stub(ThreadingHTTPServer):
    """POST …/execution, GET of the job until it is successful, GET of its results and of the file;
    the key is ``secret``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.polls: dict[str, int] = {}
        self.refused: dict[str, str] | None = None
        self.failure: dict[str, str] | None = None
        self.preliminary_from = 99
        self.cut = 0  # so many transfers break in the middle
        self.other: Stub | None = None  # where the answers send the client
        self.redirects = False
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"

    def handle_error(self, *_: object) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Stub

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("PRIVATE-TOKEN") != "secret":
            return self._json(401, {"title": "unauthorized", "detail": "authentication failed"})
        if self.server.refused:
            return self._json(403, self.server.refused)
        name = f"job{len(self.server.jobs)}"
        self.server.jobs[name] = asked["inputs"] | {"dataset": self.path.split("/")[-2]}
        self.server.files[name] = grib(asked["inputs"], self.server.preliminary_from)
        at = self.server if self.server.redirects else self.server.other or self.server
        monitor = {"rel": "monitor", "href": f"{at.url}/retrieve/v1/jobs/{name}"}
        return self._json(201, {"jobID": name, "status": "accepted", "links": [monitor]})

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("PRIVATE-TOKEN", ""))
        if self.server.redirects and self.server.other is not None:
            self.send_response(302)
            self.send_header("Location", f"{self.server.other.url}{self.path}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        parts = self.path.strip("/").split("/")
        name = next((p for p in parts if p.startswith("job") and p != "jobs"), "")
        if name not in self.server.jobs:
            return self._json(404, {"title": "job not found"})
        if parts[0] == "files":
            return self._file(self.server.files[name])
        if parts[-1] == "results" and self.server.failure:
            return self._json(400, self.server.failure)
        if parts[-1] == "results":
            return self._json(
                200,
                {
                    "asset": {
                        "value": {
                            "href": f"/files/{name}",
                            "file:size": len(self.server.files[name]),
                        }
                    }
                },
            )
        polls = self.server.polls[name] = self.server.polls.get(name, 0) + 1
        done = "failed" if self.server.failure else "successful"
        return self._json(
            200, {"jobID": name, "status": ["accepted", "running", done][min(polls, 3) - 1]}
        )

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode())

    def _file(self, content: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self._send(206 if start else 200, content[start:], cut=self.server.cut > 0)
        self.server.cut -= 1

    def _send(self, status: int, content: bytes, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    """The store, and a home folder with a key to it; a year has two months and the grid steps of
    ten degrees."""
    monkeypatch.setattr(
        cds_months, "months_of", lambda years: [(y, m) for y in years for m in (1, 2)]
    )
    monkeypatch.setitem(ARCHIVES, "cds", replace(ARCHIVES["cds"], stores={"36x19": str(STEP)}))
    server = Stub()
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    (tmp_path / "rc").write_text(f"url: {server.url}\nkey: secret\n")
    for name in ("CDSAPI_KEY", "CDSAPI_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "rc"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def download(stub: Stub, tmp_path: Path) -> Callable[..., list[Path]]:
    """Download from the stub into ``tmp_path / "era5"``."""

    def run(said: list[str] | None = None, **settings: str) -> list[Path]:
        lines = [] if said is None else said
        with Client(QUICK, lines.append) as client:
            wanted = DownloadSettings.model_validate(SETTINGS | settings)
            return download_archive(
                tmp_path / "era5", Origin("cds"), wanted, client, Quiet(), lines.append
            )

    return run


def test_a_month_of_grib_becomes_a_file(
    stub: Stub, download: Callable[..., list[Path]], tmp_path: Path
) -> None:
    stub.preliminary_from, stub.cut = 20, 2
    said: list[str] = []
    files = download(said)
    assert [f.name for f in files] == ["analysis_2020-01.nc", "analysis_2020-02.nc"]
    with xr.open_dataset(files[1]) as found:
        assert found["time"].values[[0, 1, -1]].astype("datetime64[h]").astype(str).tolist() == [
            "2020-02-01T00",
            "2020-02-01T12",
            "2020-02-29T12",
        ]
        lat, lon = found["latitude"].values, found["longitude"].values
        assert (lat.tolist(), lon.tolist()) == ([60, 50, 40, 30], [-20, -10, 0, 10, 20])
        at = found.sel(time="2020-02-03T12")
        for level in (500, 850):
            np.testing.assert_allclose(
                at["t"].sel(level=level).values, value("t", level, 3, 12, lat, lon), atol=1e-3
            )
        np.testing.assert_allclose(at["t2m"].values, value("2t", 0, 3, 12, lat, lon), atol=1e-3)
        assert found["orography"].dims == ("latitude", "longitude")
        np.testing.assert_allclose(found["orography"].values, 10.5, atol=0.6)  # 100 to 103 m2 s-2
        assert np.unique(found["expver"].values[found["time"].dt.day < 20]).tolist() == [1]
        assert np.unique(found["expver"].values[found["time"].dt.day >= 20]).tolist() == [5]
        assert "Copernicus Climate Change Service" in found.attrs["source"]
    assert (
        sorted(p.name for p in (tmp_path / "era5").iterdir() if p.suffix in (".grib", ".job")) == []
    )
    inputs = stub.jobs["job1"]
    assert inputs["dataset"] == "reanalysis-era5-pressure-levels"
    assert (inputs["data_format"], inputs["area"], inputs["pressure_level"]) == (
        "grib",
        [60, -20, 30, 20],
        ["500", "850"],
    )
    assert (inputs["year"], inputs["month"], len(inputs["day"]), inputs["time"]) == (
        ["2020"],
        ["01"],
        31,
        ["00:00", "12:00"],
    )
    assert any("4 requests" in line for line in said)
    assert any("in the queue" in line for line in said)
    assert len(stub.jobs) == 4


def test_preliminary_months_are_fetched_again_later(
    stub: Stub, download: Callable[..., list[Path]], tmp_path: Path
) -> None:
    stub.preliminary_from = 20
    download()
    manifest = json.loads((tmp_path / "era5" / "manifest.json").read_text())
    assert manifest["files"]["analysis_2020-01.nc"]["preliminary_until"] == "2020-05-02"
    stub.preliminary_from = 99
    files = download()  # that date is long past
    assert len(stub.jobs) == 8
    with xr.open_dataset(files[0]) as found:
        assert np.unique(found["expver"].values).tolist() == [1]
    download()
    assert len(stub.jobs) == 8


def test_a_killed_download_finds_its_jobs_again(
    stub: Stub, download: Callable[..., list[Path]], tmp_path: Path
) -> None:
    class Killed(BaseException):
        """What a signal does to the process."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "download", killed)
        with pytest.raises(Killed):
            download()
    assert len(stub.jobs) == 4
    first = tmp_path / "era5" / ".analysis_2020-01.reanalysis-era5-single-levels.grib"
    first.write_bytes(stub.files["job0"][:1000])  # what had arrived
    del stub.jobs["job3"]  # and one that the store has forgotten meanwhile
    assert len(download()) == 2
    assert sorted(stub.jobs) == ["job0", "job1", "job2", "job3"]


def test_licence_key_and_failure_are_told(
    stub: Stub, download: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.refused = {
        "title": "required licences not accepted",
        "detail": "please visit the page of the data set",
    }
    with pytest.raises(InputError, match="required licences not accepted") as caught:
        download()
    assert (
        "datasets/reanalysis-era5-single-levels?tab=download#manage-licences" in caught.value.hint
    )
    stub.refused = None
    stub.failure = {"title": "The job has failed", "detail": "cost limits exceeded"}
    with pytest.raises(InputError, match="cost limits exceeded") as caught:
        download()
    assert "smaller" in caught.value.hint
    monkeypatch.setenv("CDSAPI_KEY", "wrong")
    with pytest.raises(InputError, match="401") as caught:
        download(years="2021")
    assert "key is not accepted" in caught.value.hint
    monkeypatch.delenv("CDSAPI_KEY")
    monkeypatch.setenv("CDSAPI_RC", "/nowhere/rc")
    with pytest.raises(UsageError, match="needs a key") as caught:
        download()
    assert "weatherbench2" in caught.value.hint


@pytest.mark.parametrize("redirects", [False, True])
def test_the_key_goes_to_no_other_host(
    stub: Stub, download: Callable[..., list[Path]], redirects: bool
) -> None:
    stub.other, stub.redirects = Stub(), redirects
    threading.Thread(
        target=stub.other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    try:
        with pytest.raises(InputError, match="another host"):
            download()
    finally:
        stub.other.shutdown()
        stub.other.server_close()
    assert stub.other.keys == []

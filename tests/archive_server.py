"""An HTTP server on localhost with the faults of real ones, and small stores laid out as the public
archives'."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import synthetic
import xarray as xr

from phyda_cli.fields.grid import Grid
from phyda_cli.settings.data import RetrySettings

__all__ = [
    "ARCO",
    "ERA5",
    "GRID",
    "HRES",
    "LEVELS",
    "QUICK",
    "Quiet",
    "Server",
    "analyses",
    "archive",
    "serving",
    "write_store",
]

QUICK = RetrySettings(first_wait=0.01, longest_wait=0.02, timeout=5)
ERA5 = "era5/1959-2023_01_10-6h-64x32_equiangular_conservative.zarr"
HRES = "hres/2016-2022-0012-64x32_equiangular_conservative.zarr"
ARCO = "full_37-1h-0p25deg-chunk-1.zarr-v3"
GRID = synthetic.GRID
LEVELS = (300, 500, 850)
LONG = {
    "z": "geopotential",
    "t": "temperature",
    "u": "u_component_of_wind",
    "v": "v_component_of_wind",
    "q": "specific_humidity",
    "msl": "mean_sea_level_pressure",
    "orography": "geopotential_at_surface",
    "lsm": "land_sea_mask",
}
UNITS = {
    "z": "m**2 s**-2",
    "t": "K",
    "u": "m s**-1",
    "v": "m s**-1",
    "q": "kg kg**-1",
    "msl": "Pa",
    "orography": "m**2 s**-2",
    "lsm": "(0 - 1)",
}
Fault = Callable[[str, int], str | None]


class Quiet:
    """Progress nobody looks at."""

    def begin(self, nbytes: int) -> None: ...
    def start(self, name: str, done: int, total: int) -> None: ...
    def advance(self, nbytes: int) -> None: ...


def analyses(times: np.ndarray, grid: Grid = GRID, seed: int = 3) -> xr.Dataset:
    """Synthetic weather under phyda's names."""
    waves = synthetic.wave_history(times.size, np.random.default_rng(seed))
    return synthetic.dataset(waves, times, grid, LEVELS)


def archive(data: xr.Dataset) -> xr.Dataset:
    """``data`` as WeatherBench 2 has it: long names, its spelling of units, longitude before
    latitude."""
    out = data.rename({k: v for k, v in LONG.items() if k in data})
    for name, long in LONG.items():
        if long in out:
            out[long] = out[long] * (9.80665 if name == "orography" else 1)
            out[long].attrs = {"units": UNITS[name]}
    return out.transpose("time", ..., "level", "longitude", "latitude")


def write_store(path: Path, data: xr.Dataset, chunks: dict[str, int]) -> Path:
    """A Zarr store of format 2 with consolidated metadata."""
    data = data.drop_encoding()
    for name in data.data_vars:
        data[name].encoding["chunks"] = tuple(
            chunks.get(str(d), n) for d, n in data[name].sizes.items()
        )
    data.to_zarr(path, mode="w", zarr_format=2, consolidated=True)
    return path


class Server(ThreadingHTTPServer):
    """Serves ``folder``. ``fault(path, times asked before)`` may answer drop, truncate, hang, or a
    status such as 429 or 500."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, fault: Fault = lambda path, count: None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.fault = folder, fault
        self.hang = 1.0  # seconds
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        with self.server.lock:
            fault = self.server.fault(self.path, self.server.asked[self.path])
            self.server.asked[self.path] += 1
        path = self.server.folder / self.path.lstrip("/")
        content = path.read_bytes() if path.is_file() else None
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "hang":
            time.sleep(self.server.hang)
        if (fault or "").isdigit() or content is None:
            self.send_response(int(fault or 404))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        content = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if fault == "truncate" else content)
        self.close_connection = fault == "truncate"

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server at work in a thread."""
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

"""``phyda download`` as a shell sees it: killed and continued, offline, dry, wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archive_server
import numpy as np
import pytest
import xarray as xr
from archive_server import ERA5, Server, serving

Run = Callable[..., Any]
TIMES = np.datetime64("2018-01-01T00", "ns") + np.timedelta64(12, "h") * np.arange(
    2 * 90
)  # January to March
OPTIONS = ("--years", "2018", "--hours", "0,12", "--levels", "500", "--variables", "t,msl")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months, a chunk for each day."""
    root = tmp_path_factory.mktemp("stores")
    archive_server.write_store(
        root / ERA5, archive_server.archive(archive_server.analyses(TIMES)), {"time": 2}
    )
    return root


def test_killed_and_continued(phyda: Run, stores: Path, tmp_path: Path) -> None:
    out = tmp_path / "era5"
    stuck = "/temperature/40."  # a day in March
    with serving(Server(stores, lambda path, _: "hang" if stuck in path else None)) as server:
        command = [
            sys.executable,
            "-m",
            "phyda_cli",
            "download",
            *OPTIONS,
            "--url",
            server.url,
            "--out",
            str(out),
        ]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        server.hang = 30
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not any(stuck in path for path in list(server.asked)):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.nc")}
        assert set(before) == {"analysis_2018-01.nc"}
        assert list(out.glob(".*.part"))
        server.fault = lambda path, _: None
        server.asked.clear()
        outcome = phyda("download", *OPTIONS, "--url", server.url, "--out", out)
    assert outcome.code == 0, outcome.err
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in out.glob("*.nc")}.items()
    assert not list(out.glob(".*.part"))
    assert not any(f"/temperature/{day}." in path for path in server.asked for day in range(30))
    with xr.open_dataset(out / "analysis_2018-03.nc") as found:
        assert np.isfinite(found["t"].values).all()
        assert found.sizes["time"] == 62
    assert "analysis_2018-02.nc (2 of 3" in outcome.err
    assert "next: phyda preprocess" in outcome.err


def test_offline(phyda: Run, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    outcome = phyda(
        "download",
        *OPTIONS,
        "--attempts",
        "1",
        "--url",
        f"http://{host}",
        "--out",
        tmp_path / "era5",
    )
    assert outcome.code == 3
    assert f"cannot reach {host}" in outcome.err
    assert "phyda preprocess" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "era5").exists()


def test_dry_run(phyda: Run, stores: Path, tmp_path: Path) -> None:
    with serving(Server(stores)) as server:
        outcome = phyda(
            "download", *OPTIONS, "--dry-run", "--url", server.url, "--out", tmp_path / "era5"
        )
    assert outcome.code == 0, outcome.err
    assert "3 files on a grid of 16x8: 182 requests, about" in outcome.err
    assert "free" in outcome.err
    assert "next:" not in outcome.err
    assert not (tmp_path / "era5").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--years is missing"),
        (("--years", "20x5"), "years"),
        (("--years", "2018", "--area", "1,2,3,4"), "north,west,south,east"),
        (("--years", "2018", "--variables", "colour"), "colour is not known"),
        (("--years", "2018", "--hours", "25"), "expected 0 to 23"),
        (("--years", "2018", "--source", "web"), "weatherbench2, arco, cds, nature"),
        (("--years", "2018", "--forecasts", "gfs"), "hres, pangu, graphcast"),
        (("--years", "2018", "--source", "arco", "--forecasts", "hres"), "--source weatherbench2"),
    ],
)
def test_usage(phyda: Run, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    outcome = phyda("download", *arguments, "--out", tmp_path / "era5")
    assert outcome.code == 2
    assert told in outcome.err


def test_a_nature_run_does_not_join_an_archive(phyda: Run, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    outcome = phyda("download", "--source", "nature", "--out", tmp_path)
    assert outcome.code == 2
    assert "one folder holds one source" in outcome.err

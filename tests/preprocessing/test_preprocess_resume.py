"""A store that is killed at any moment, made on a cluster or in little memory is the same store,
byte for byte."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import CHANNELS, dataset, history

from phyda_cli.errors import BusyError, InputError, OutputError, UsageError
from phyda_cli.fields.state import equiangular
from phyda_cli.preprocessing import plan as planning
from phyda_cli.preprocessing import preprocess as module
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.data import ExecutionSettings, PreprocessSettings

SETTINGS = PreprocessSettings(
    grid="16x8", channels=CHANNELS, pairs=("lagged",), lag_hours=6, packing="int16"
)
SLOWLY = """
import sys, time
from pathlib import Path
from phyda_cli.settings.data import PreprocessSettings
from phyda_cli.preprocessing import blocks, plan, preprocess as module
planning_bytes, delay = int(sys.argv[3]), float(sys.argv[4])
plan.BLOCK_BYTES = planning_bytes
write = module.write_block
def slow(job, block):
    print("block", block.number, flush=True)
    time.sleep(delay)
    return write(job, block)
module.write_block = slow
print("started", flush=True)
settings = PreprocessSettings.model_validate_json(sys.argv[5])
module.preprocess([Path(sys.argv[1])], Path(sys.argv[2]), settings, lambda m: print(m, flush=True))
"""
MEASURED = """
import re, sys
from phyda_cli.app import main
sys.argv[0] = "phyda"
try:
    main()
finally:
    # ru_maxrss would count the process that starts it
    print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""
SMALL = 3 * 4 * len(CHANNELS) * 48 * 24  # three states a block


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    times, waves = history()
    for i in range(3):
        part = slice(20 * i, 20 * (i + 1))
        dataset(waves[part], times[part], equiangular(48, 24)).to_netcdf(
            folder / f"analysis_{i}.nc"
        )
    return folder


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "BLOCK_BYTES", SMALL)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "s.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "BLOCK_BYTES", SMALL)
        preprocess([data], out, SETTINGS)
    return content(out)


def content(store: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()
    }


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def start(data: Path, out: Path, delay: float) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        SLOWLY,
        str(data),
        str(out),
        str(SMALL),
        str(delay),
        SETTINGS.model_dump_json(),
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
    )


def test_killed_again_and_again(data: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """SIGKILL a random moment after a random piece of work, four times; the fifth call is left
    alone."""
    out, rng, kills = tmp_path / "s.zarr", np.random.default_rng(time.time_ns()), 0
    for _ in range(4):
        process = start(data, out, 0.02)
        assert process.stdout is not None
        for _ in range(rng.integers(1, 14)):
            process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.1)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    process = start(data, out, 0)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert kills > 0
    assert differing(content(out), whole) == []
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("stop", [1, 7, 20, 21, 22])
@pytest.mark.usefixtures("small_blocks")
def test_stopped_after_any_piece_of_work(
    data: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """21 blocks of states, then the statistics, then publication."""
    done: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("write_block", "measure"):
            patch.setattr(module, name, counted(getattr(module, name), done, stop))
        if stop > 21:
            patch.setattr(module, "merge", counted(module.merge, done, stop))
        with pytest.raises(KeyboardInterrupt):
            preprocess(
                [data], tmp_path / "s.zarr", SETTINGS, execution=ExecutionSettings(workers=1)
            )
    assert not (tmp_path / "s.zarr").exists()
    (
        tmp_path / "s.zarr.part" / "store" / "states" / "0.0123abcd.partial"
    ).touch()  # a chunk that was being written
    again: list[str] = []
    monkeypatch.setattr(module, "write_block", counted(module.write_block, again, 999))
    preprocess([data], tmp_path / "s.zarr", SETTINGS)
    assert len(again) <= 21 - (stop - 1) // 4 * 4  # a wave of four is what may be done again
    assert differing(content(tmp_path / "s.zarr"), whole) == []


def counted(function: Callable[..., Any], done: list[str], stop: int) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        if len(done) >= stop:
            raise KeyboardInterrupt
        done.append(function.__name__)
        return function(*arguments)

    return run


@pytest.mark.usefixtures("small_blocks")
def test_a_stopped_store_belongs_to_its_settings_and_inputs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_block", counted(module.write_block, [], 3))
        with pytest.raises(KeyboardInterrupt):
            preprocess([data], out, SETTINGS)
    with pytest.raises(
        UsageError, match=r"s\.zarr\.part holds a run with other lag_hours, packing"
    ):
        preprocess([data], out, SETTINGS.model_copy(update={"packing": "float32", "lag_hours": 12}))
    with pytest.raises(UsageError, match="other inputs") as caught:
        preprocess(sorted(data.glob("*.nc"))[:2], out, SETTINGS)
    assert "remove the folder" in caught.value.hint
    assert not out.exists()


def test_up_to_date_or_refused(data: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "s.zarr", list[str]()
    count = preprocess([data], out, SETTINGS)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    (tmp_path / "s.zarr.part" / "progress").mkdir(parents=True)  # killed while it tidied up
    assert preprocess([data], out, SETTINGS, said.append) == count
    assert said == [f"{out} is up to date"]
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert not (tmp_path / "s.zarr.part").exists()
    other = SETTINGS.model_copy(update={"packing": "float32"})
    with pytest.raises(OutputError, match="exists already"):
        preprocess([data], out, other)
    preprocess([data], out, other, overwrite=True)
    assert PairStore.open(out).attributes["settings"]["packing"] == "float32"  # type: ignore[index]
    assert list(tmp_path.iterdir()) == [out]


def test_two_at_once(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s.zarr.part"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another phyda is making"):
            preprocess([data], tmp_path / "s.zarr", SETTINGS)
    assert BusyError.exit_code == 75
    assert preprocess([data], tmp_path / "s.zarr", SETTINGS) == 59


@pytest.mark.usefixtures("small_blocks")
def test_a_cluster_gives_the_same_bytes(
    data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        execution = ExecutionSettings(scheduler=cluster.scheduler_address)
        preprocess([data], tmp_path / "s.zarr", SETTINGS, execution=execution)
        assert differing(content(tmp_path / "s.zarr"), whole) == []
        with xr.open_dataset(data / "analysis_1.nc") as good:
            good.assign(t=good["t"].where(good["time"] != good["time"][3])).to_netcdf(
                tmp_path / "bad.nc"
            )
        with pytest.raises(
            InputError, match=r"bad\.nc: t300 at 2010-12-06T18:00: 128 of 128 values are missing"
        ):
            preprocess([tmp_path / "bad.nc"], tmp_path / "b.zarr", SETTINGS, execution=execution)


def test_a_cluster_that_is_not_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("phyda_cli.preprocessing.scheduling.PATIENCE", 1.0)
    with pytest.raises(UsageError, match="no Dask scheduler answers at tcp"):
        preprocess(
            [data],
            tmp_path / "s.zarr",
            SETTINGS,
            execution=ExecutionSettings(scheduler="tcp://127.0.0.1:9"),
        )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.usefixtures("small_blocks")
def test_threads_do_not_matter(
    data: Path, whole: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    preprocess([data], tmp_path / "s.zarr", SETTINGS, execution=ExecutionSettings(workers=workers))
    assert differing(content(tmp_path / "s.zarr"), whole) == []


def test_memory_stays_under_the_limit(tmp_path: Path) -> None:
    """318 MB of fields, read in blocks."""
    times, waves = history()
    for i in range(4):
        part = slice(30 * i, 30 * (i + 1))
        dataset(waves[part], times[part], equiangular(288, 144)).to_netcdf(
            tmp_path / f"analysis_{i}.nc"
        )
    arguments = [
        "preprocess",
        str(tmp_path),
        "--out",
        str(tmp_path / "s.zarr"),
        "--grid",
        "144x72",
        "--channels",
        ",".join(CHANNELS),
        "--pairs",
        "lagged",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def run(limit: str) -> tuple[int, str, float]:
        command = [sys.executable, "-c", MEASURED, *arguments, "--memory-limit", limit]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stderr, 1024 * float(done.stdout)

    code_, text, _ = run("300MB")
    assert code_ == 2
    least = int(re.search(r"these data need (\d+) MB", text)[1])  # type: ignore[index]
    code_, text, peak = run(f"{least}MB")
    assert code_ == 0, text
    assert peak < least * 1e6

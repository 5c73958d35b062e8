"""``torchrun -m phyda_cli assimilate``: two processes give the analysis of one, and end together
when one of them fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, TIME, WAVES, amplitudes, dataset

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600  # s, of any of these calls


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five members in one file."""
    path = tmp_path_factory.mktemp("ensemble") / "all.nc"
    drawn = amplitudes(24) + 0.4 * np.random.default_rng(3).standard_normal((5, len(WAVES), 2))
    parts = [dataset(a[None], [TIME], FINE, FINE_LEVELS) for a in drawn]
    xr.concat(parts, xr.Variable("number", np.arange(5, dtype=np.int32))).to_netcdf(path)
    return path


@pytest.fixture
def arguments(case: Path, tiny_checkpoint: Path) -> list[str]:
    """A command on the small case, without its output."""
    return [
        "assimilate",
        "--obs",
        str(case / "stations.csv"),
        "--background",
        str(case / "fc.nc"),
        "--checkpoint",
        str(tiny_checkpoint),
    ]


def environment(**values: object) -> dict[str, str]:
    return (
        os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        | {name: str(value) for name, value in values.items()}
    )


def torchrun(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "phyda_cli",
    ]
    return subprocess.run(
        [*launcher, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def start(
    commands: list[list[str]], folders: tuple[Path, Path] = (ROOT, ROOT)
) -> list[subprocess.Popen[str]]:
    """A process for each command, in its folder, as ``torchrun`` starts its ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank, (command, folder) in enumerate(zip(commands, folders, strict=True)):
        own = environment(
            RANK=rank,
            LOCAL_RANK=rank,
            WORLD_SIZE=len(commands),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        ranks.append(subprocess.Popen([sys.executable, *command], env=own, cwd=folder, **pipes))
    return ranks


def ended(ranks: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Code, stdout and stderr of each, all of them gone."""
    try:
        texts = [rank.communicate(timeout=LIMIT) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, *text) for rank, text in zip(ranks, texts, strict=True)]


def variables(path: Path) -> dict[str, np.ndarray]:
    with xr.open_dataset(path, decode_times=False) as data:
        return {str(n): v.values for n, v in data.variables.items() if v.dtype.kind == "f"}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("oi", ["--robust", "huber"]),
        ("phyda", ["--members", "5", "--physics", "project", "--save-members"]),
        ("letkf", ["--save-members"]),
        pytest.param("hybrid", ["--save-members"], marks=pytest.mark.slow),
        pytest.param("guidance", ["--members", "10", "--save-members"], marks=pytest.mark.slow),
    ],
)
def test_two_ranks_give_the_result_of_one(
    phyda: Run,
    arguments: list[str],
    ensemble: Path,
    tmp_path: Path,
    method: str,
    options: list[str],
) -> None:
    options = [*options, "--method", method]
    if method in ("letkf", "hybrid"):
        arguments[arguments.index("--background") + 1] = str(ensemble)
    outputs = {
        name: ["--out", str(tmp_path / f"{name}.nc"), "--feedback", str(tmp_path / f"{name}.fb.nc")]
        for name in ("one", "two")
    }
    assert phyda(*arguments, *options, *outputs["one"]).code == 0
    together = torchrun([*arguments, *options, *outputs["two"]])
    assert together.returncode == 0, together.stderr
    assert together.stderr.count("by 2 ranks (ok)") == 1
    assert together.stdout.count("Departures (rms)") == 1
    for suffix in (".nc", ".fb.nc"):
        one, two = (variables(tmp_path / f"{name}{suffix}") for name in ("one", "two"))
        assert set(one) == set(two)
        for name, values in one.items():
            inside = np.isfinite(values)
            size = np.ptp(values[inside]) if inside.any() else 0.0
            np.testing.assert_allclose(two[name], values, rtol=0, atol=1e-5 * size, err_msg=name)
    members = {"t_members", "msl_members"} if "--save-members" in options else set()
    assert members | {"t", "t_increment", "t_spread"} <= set(variables(tmp_path / "two.nc"))
    assert (
        phyda(*arguments, *options, *outputs["two"]).err.count("is up to date") == 1
    )  # by the same inputs


def test_a_bad_input_is_told_once_and_ends_all(arguments: list[str], tmp_path: Path) -> None:
    arguments[arguments.index("--background") + 1] = str(tmp_path / "none.nc")
    command = ["-m", "phyda_cli", *arguments, "--out", str(tmp_path / "an.nc")]
    (code, out, err), other = ended(start([command, command]))
    assert (code, out) == (3, "")
    assert "FATAL ERROR: " in err
    assert "none.nc does not exist" in err
    assert other == (3, "", "")
    assert torchrun([*arguments, "--out", str(tmp_path / "an.nc")]).returncode != 0
    assert not list(tmp_path.iterdir())


def test_an_error_of_another_rank_ends_all(
    arguments: list[str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Where the second rank works, the path of the checkpoint leads nowhere."""
    arguments[arguments.index("--checkpoint") + 1] = tiny_checkpoint.name
    command = ["-m", "phyda_cli", *arguments, "--out", str(tmp_path / "an.nc")]
    (code, out, err), other = ended(start([command, command], (tiny_checkpoint.parent, tmp_path)))
    assert (code, out) == (3, "")
    assert "FATAL ERROR: rank 1: no checkpoint at checkpoint" in err
    assert "Traceback" not in err
    assert other == (3, "", "")
    assert not list(tmp_path.iterdir())


def test_wrong_settings_are_told_once(arguments: list[str], tmp_path: Path) -> None:
    command = ["-m", "phyda_cli", *arguments, "--method", "magic", "--out", str(tmp_path / "an.nc")]
    (code, out, err), other = ended(start([command, command]))
    assert (code, out, other) == (2, "", (2, "", ""))
    assert "FATAL ERROR: method" in err


def test_nothing_to_do_ends_all(phyda: Run, arguments: list[str], tmp_path: Path) -> None:
    command = ["-m", "phyda_cli", *arguments, "--method", "oi", "--out", str(tmp_path / "an.nc")]
    (code, _, err), other = ended(start([[*command, "--dry-run"]] * 2))
    assert (code, other) == (0, (0, "", "")), err
    assert not list(tmp_path.iterdir())
    assert phyda(*command[2:]).code == 0
    (code, _, err), other = ended(start([command] * 2))
    assert (code, other) == (0, (0, "", ""))
    assert "is up to date" in err


def test_a_rank_that_is_killed_ends_all(arguments: list[str], tmp_path: Path) -> None:
    command = ["-m", "phyda_cli", *arguments, "--out", str(tmp_path / "an.nc")]
    dies = (
        "import os, signal; from phyda_cli.parallel.ranks import ranks\nwith ranks(): "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    (code, out, err), (other, _, _) = ended(start([command, ["-c", dies]]))
    assert other == -signal.SIGKILL
    assert (code, out) == (1, "")
    assert "rank 0 of 2 has lost the others" in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())

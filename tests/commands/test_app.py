"""The command itself: help without heavy imports, exit codes, messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phyda_cli import __version__
from phyda_cli.commands import assimilate

Run = Callable[..., Any]
HEAVY = {"torch", "xarray", "eccodes", "pandas", "numpy", "scipy", "matplotlib", "netCDF4", "zarr"}
HELP = """
import sys
from phyda_cli.app import main
sys.argv = ["phyda", *sys.argv[1:]]
try:
    main()
finally:
    print("LOADED", *sorted({m.partition(".")[0] for m in sys.modules}))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["assimilate", "--help"],
        ["config", "show", "train"],
        ["download", "--help"],
        ["cycle", "run", "--help"],
        ["model", "card", "--help"],
        ["--version"],
    ],
)
def test_help_is_light(arguments: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", HELP, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    text, loaded = done.stdout.split("LOADED")
    assert "typer" in loaded.split()
    assert not HEAVY & set(loaded.split())
    if arguments == ["--help"]:
        assert all(
            command in text
            for command in (
                "download",
                "preprocess",
                "train",
                "assimilate",
                "verify",
                "demo",
                "cycle",
                "model",
            )
        )
        assert "Exit codes" in text


def test_help_shows_defaults(phyda: Run) -> None:
    assert "[default: 8000]" in " ".join(phyda("train", "--help").out.replace("│", " ").split())


def test_the_help_of_assimilate_fits_a_screen(phyda: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = phyda("assimilate", "--help").out.splitlines()
    assert len(lines) <= 60
    options = [line for line in lines if re.match(r"│[ *]{1,4}--", line)]
    assert len(options) <= 20
    every = phyda("assimilate", "--help-all").out
    assert all(flag in every for flag in ("--valid-time", "--rtps", "--save-members", "--seed"))


def test_version(phyda: Run) -> None:
    assert phyda("--version").out.strip() == f"phyda {__version__}"


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_told_otherwise(given: str | None) -> None:
    code = "import atexit, os, sys; from phyda_cli.app import main; sys.argv[1:] = ['--version'];"
    code += "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'])); main()"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert said.stdout.splitlines()[-1] == (given or "PASSIVE")


def test_usage_errors(phyda: Run) -> None:
    assert phyda("assimilate").code == 2
    assert phyda("colour").code == 2
    outcome = phyda("assimilate", "--obs", "a", "--background", "b", "--members", "0")
    assert outcome.code == 2
    assert "--members" in outcome.err


def test_a_defect_is_told_from_a_mistake(phyda: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(assimilate, "parse_renames", broken)
    outcome = phyda("assimilate", "--obs", "a", "--background", "b")
    assert outcome.code == 1
    assert "whoever installed it" in outcome.err  # no address in the metadata
    assert "this is a defect in phyda" in outcome.err
    assert "of all things" in outcome.err


def test_debug_shows_where(phyda: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = (
        "assimilate",
        "--obs",
        tmp_path / "a",
        "--background",
        tmp_path / "b",
        "--checkpoint",
        tmp_path,
    )
    assert "Traceback" not in phyda(*arguments).err
    monkeypatch.setenv("PHYDA_DEBUG", "1")
    outcome = phyda(*arguments)
    assert "Traceback" in outcome.err
    assert outcome.code == 3

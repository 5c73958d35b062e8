"""Make a published cycle again from its recorded choices, and compare the two bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli.cycle.child import run_limited
from phyda_cli.cycle.folder import Published
from phyda_cli.errors import GateError, InputError
from phyda_cli.files.publish import sha256

__all__ = ["differences", "replay"]


def replay(cycle: Published, out: Path, minutes: float) -> list[str]:
    """Make ``cycle`` again in the folder ``out``; returns the variables that differ.

    Raises InputError when an input has changed or is gone, GateError when the analysis fails.
    """
    _require_inputs(cycle)
    out.mkdir(parents=True, exist_ok=True)
    words = list(cycle.report["command"])
    for name in ("--out", "--feedback"):
        at = words.index(name) + 1
        words[at] = str(out.absolute() / words[at])
    command = [sys.executable, "-P", "-m", "phyda_cli", *words, "--overwrite"]
    ended = run_limited(command, out / "log.txt", minutes, folder=cycle.path)
    if ended.code != 0:
        raise GateError(
            f"the replay of {cycle.path.name} ended with {ended.code}",
            hint=f"see {out / 'log.txt'}",
        )
    return [
        f"{name}: {variable}"
        for name in ("analysis.nc", "feedback.nc")
        for variable in differences(cycle.path / name, out / name)
    ]


def _require_inputs(cycle: Published) -> None:
    background = cycle.report["background"]
    inputs = [(cycle.path / f["copy"], f["sha256"]) for f in cycle.report["observations"]]
    own = background.get("copy")
    inputs.append((cycle.path / own if own else Path(background["path"]), background["sha256"]))
    others = (*cycle.report.get("lagged", ()), *cycle.report.get("settings", ()))
    inputs += [(Path(f["path"]), f["sha256"]) for f in others]
    if memory := cycle.report.get("memory"):
        path = cycle.path.parent / memory["cycle"] / "feedback.nc"
        if not path.is_file():
            raise InputError(
                f"{path}, which {cycle.path.name} remembers biases from, is gone",
                hint="the setting retention.cycles says how many cycles are kept",
            )
        inputs.append((path, memory["sha256"]))
    for path, expected in inputs:
        if not path.is_file():
            raise InputError(f"{path}, an input of {cycle.path.name}, is gone")
        if sha256(path) != expected:
            raise InputError(f"{path} has changed since {cycle.path.name} was made from it")


def differences(one: Path, other: Path) -> list[str]:
    """The variables of two NetCDF files whose bytes differ, or which only one file has."""
    with netCDF4.Dataset(one) as a, netCDF4.Dataset(other) as b:
        names = sorted(_names(a) | _names(b))
        return [name for name in names if not _same(a, b, name)]


def _names(data: netCDF4.Dataset) -> set[str]:
    """All variables, those of groups as GROUP/NAME."""
    inside = {f"{group}/{name}" for group, g in data.groups.items() for name in g.variables}
    return set(data.variables) | inside


def _same(a: netCDF4.Dataset, b: netCDF4.Dataset, name: str) -> bool:
    if name not in _names(a) or name not in _names(b):
        return False
    for data in (a, b):
        data[name].set_auto_maskandscale(False)
    x, y = np.asarray(a[name][...]), np.asarray(b[name][...])
    if x.dtype == object:
        return x.shape == y.shape and bool((x == y).all())
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()

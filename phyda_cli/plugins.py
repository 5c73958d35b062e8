"""Plug-ins: what other packages add to phyda through entry points, as they add backends to xarray.

A package names them in its ``pyproject.toml``::

    [project.entry-points."phyda.readers"]
    buoys = "my_package.buoys"

    [project.entry-points."phyda.denoisers"]
    plain = "my_package.networks:Plain"

    [project.entry-points."phyda.operators"]
    wind_speed_850 = "my_package.operators:wind_speed_850"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from phyda_cli.errors import UsageError

__all__ = ["DENOISERS", "OPERATORS", "READERS", "load_all", "plugin"]

READERS, DENOISERS, OPERATORS = "phyda.readers", "phyda.denoisers", "phyda.operators"


def plugin(group: str, name: str) -> Any:
    """What the plug-in ``name`` of ``group`` names. Raises UsageError where there is none, or where
    it cannot be loaded."""
    known = _known(group)
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"there is no plug-in {name!r} of the kind {group}; installed: {listed}",
            hint="install the package that has it into the same environment as phyda",
        )
    return _loaded(known[name])


@cache
def load_all(group: str) -> None:
    """Load every plug-in of ``group``, once. Raises UsageError where one cannot be loaded."""
    for entry in _known(group).values():
        _loaded(entry)


def _known(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # a plug-in is somebody else's code
        raise UsageError(
            f"the plug-in {entry.name} ({entry.group}, {entry.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}",
            hint="mend it, or uninstall its package",
        ) from error

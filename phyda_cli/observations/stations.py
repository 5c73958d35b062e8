"""Lists of stations: withheld, on a blacklist or a whitelist. One station a line, ``#`` starting a
comment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.names import canonical_observable

__all__ = ["StationLists", "listed", "read_rules", "read_stations", "withheld_stations"]

Rules = Mapping[str, frozenset[str]]
"""Variables of each station; an empty set means all of them."""


@dataclass(frozen=True)
class StationLists:
    """Which stations not to use: those of ``blacklist``, and any that is not on ``whitelist`` if
    there is one; ``withheld`` ones are passive, and so is a ``fraction`` of all stations, chosen by
    ``seed``."""

    blacklist: Rules = field(default_factory=dict)
    whitelist: Rules | None = None
    withheld: frozenset[str] = frozenset()
    fraction: float = 0.0
    seed: int = 0


def read_stations(path: Path) -> frozenset[str]:
    """Station identifiers in ``path``. Raises InputError when it cannot be read."""
    return frozenset(line for _, line in _lines(path))


def read_rules(path: Path) -> dict[str, frozenset[str]]:
    """Lines ``STATION [VARIABLE …]`` of ``path``; without a variable all of the station's are
    meant.

    Raises InputError when it cannot be read or names an unknown variable.
    """
    rules: dict[str, frozenset[str]] = {}
    for number, line in _lines(path):
        station, *names = line.split()
        known = {name: canonical_observable(name) for name in names}
        if None in known.values():
            unknown = ", ".join(name for name, found in known.items() if found is None)
            raise InputError(
                f"{path}:{number}: unknown variable {unknown}",
                hint="a line is a station, and perhaps variables such as t2m",
            )
        variables = frozenset(name for name in known.values() if name)
        before = rules.get(station)
        rules[station] = (
            variables
            if before is None
            else before | variables
            if before and variables
            else frozenset()
        )
    return rules


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the station list {path}: {error}") from error
    return [
        (number, text)
        for number, line in enumerate(lines, 1)
        if (text := line.split("#")[0].strip())
    ]


def listed(table: pd.DataFrame, rules: Rules) -> np.ndarray:
    """Rows (P,) whose station and variable ``rules`` name."""
    whole = [station for station, names in rules.items() if not names]
    pairs = {(station, name) for station, names in rules.items() for name in names}
    station, variable = table["station_id"], table["variable"]
    found = station.isin(whole).to_numpy()
    if pairs:
        found = found | np.array(
            [pair in pairs for pair in zip(station, variable, strict=True)], bool
        )
    return found


def withheld_stations(stations: Iterable[str], lists: StationLists) -> frozenset[str]:
    """Which of ``stations`` are withheld. The choice depends on a station's own name and the seed
    alone, so that other stations in a file, and other files, do not change it."""
    chosen = frozenset(
        s for s in set(stations) if lists.fraction > 0 and _draw(s, lists.seed) < lists.fraction
    )
    return chosen | lists.withheld


def _draw(station: str, seed: int) -> float:
    """A number in 0..1 that ``station`` always gets."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{station}".encode()).digest()[:8], "big") / 2**64

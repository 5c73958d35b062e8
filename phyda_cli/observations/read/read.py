"""Reading observation files of any kind, chosen by their content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from phyda_cli.errors import InputError, UsageError
from phyda_cli.observations.read.columns import ObservationMap, load_mapping
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.decode import (
    Source,
    decode,
    decode_apart,
    format_of,
    load_format,
)
from phyda_cli.observations.report import ReadResult, merge
from phyda_cli.observations.table import COLUMNS, check

__all__ = ["ObservationInput", "TextTables", "decode_all", "read_observations"]

ObservationInput: TypeAlias = Path | pd.DataFrame
"""A file, or a table in memory."""
IN_MEMORY = Path("table in memory")

_SMALL = 4_000_000  # bytes of a text file read sooner than a worker starts


@dataclass(frozen=True)
class TextTables:
    """How text tables are read: mapping files (``maps``, see
    :mod:`~phyda_cli.observations.read.columns`), and ``point`` or ``comma`` for their numbers
    (``decimals``). Each is for all files, or with a pattern before it for those whose name fits
    (``metar*=metar.toml``, ``*.txt=comma``); of several that fit the last counts."""

    maps: tuple[str, ...] = ()
    decimals: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The mapping files, each with its table of stations. Raises what :func:`load_mapping`
        raises."""
        maps = [Path(_split(given)[1]) for given in self.maps]
        pairs = ((path, load_mapping(path).stations) for path in maps)
        return tuple(path for pair in pairs for path in pair if path is not None)

    def of(self, path: Path) -> ObservationMap | None:
        """The map for the file ``path``. Raises UsageError for another decimal sign, and what
        :func:`load_mapping` raises."""
        mapping, decimal = (_last_for(path, given) for given in (self.maps, self.decimals))
        chosen = None if mapping is None else load_mapping(Path(mapping))
        if decimal is None:
            return chosen
        if decimal not in ("point", "comma"):
            raise UsageError(f"--decimal {decimal}: expected point or comma")
        return (chosen or ObservationMap()).model_copy(update={"decimal": decimal})


def _split(given: str) -> tuple[str, str]:
    """Pattern and value of ``PATTERN=VALUE``; a file whose name has a = in it is no pattern."""
    pattern, separator, value = given.partition("=")
    return (pattern, value) if separator and not Path(given).exists() else ("*", given)


def _last_for(path: Path, given: Sequence[str]) -> str | None:
    fitting = [
        value for g in given for pattern, value in [_split(g)] if fnmatch(path.name, pattern)
    ]
    return fitting[-1] if fitting else None


def read_observations(
    paths: Sequence[ObservationInput], tables: TextTables = TextTables(), strict: bool = False
) -> ReadResult:
    """All observations in ``paths`` (text tables, BUFR, NetCDF or ODB-2, possibly gzipped, or
    tables in memory), and what became of every row.

    ``tables`` says how text tables are read. Binary files, and several big text tables, are decoded
    in worker processes; the rows come in the order of ``paths``. Raises InputError when a file is
    missing, empty or of no known kind, and with ``strict`` for the first bad row.
    """
    named = [IN_MEMORY if isinstance(path, pd.DataFrame) else Path(path) for path in paths]
    result = merge(_read(paths, named, [tables.of(path) for path in named]))
    if strict and result.problems:
        shown = "; ".join(str(p) for p in result.problems[:3])
        raise InputError(
            f"{len(result.problems)} bad observation rows: {shown}",
            hint="without --strict they are rejected and reported",
        )
    return result


def _read(
    sources: Sequence[ObservationInput],
    paths: Sequence[Path],
    maps: Sequence[ObservationMap | None],
) -> list[ReadResult]:
    """The result of each file: small text tables in this process, the others in workers."""
    results: dict[int, ReadResult] = {}
    for i, path in enumerate(paths):
        if isinstance(sources[i], pd.DataFrame):
            results[i] = _in_memory(sources[i], maps[i])
            continue
        source = Source(path)
        quick = not source.packed and (len(paths) == 1 or path.stat().st_size < _SMALL)
        if quick and format_of(source).harmless:
            results[i] = decode(path, maps[i])
    others = [i for i in range(len(paths)) if i not in results]
    found = decode_all([paths[i] for i in others], [maps[i] for i in others])
    results |= zip(others, found, strict=True)
    return [results[i] for i in range(len(paths))]


def _in_memory(table: pd.DataFrame, mapping: ObservationMap | None) -> ReadResult:
    """A table that was read before as it is; any other as the CSV file that it would be written
    to, so that names, units and faults of a row mean the same in both."""
    if list(table) == list(COLUMNS):
        check(table)
        return ReadResult(table, len(table), len(table), 0, 0)
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    return parse_csv(table.to_csv(index=False), str(IN_MEMORY), mapping)


def decode_all(
    paths: Sequence[Path], maps: Sequence[ObservationMap | None], processes: int | None = None
) -> list[ReadResult]:
    """The observations of each file in the order of ``paths``, text tables by their ``maps``,
    decoded in up to ``processes`` workers (one a core).

    Raises the first InputError in that order.
    """

    def one(path: Path, mapping: ObservationMap | None) -> ReadResult:
        load_format(path)
        return decode_apart(path, mapping)

    count = min(len(paths), processes or _cores())
    if count < 2:
        return [one(path, mapping) for path, mapping in zip(paths, maps, strict=True)]
    with ThreadPoolExecutor(count) as pool:  # each thread has a worker, which ends with it
        return list(pool.map(one, paths, maps))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

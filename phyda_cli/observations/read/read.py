"""Reading observation files of any kind, chosen by their content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from phyda_cli.errors import InputError, UsageError
from phyda_cli.observations.read.columns import ObservationMap, load_mapping
from phyda_cli.observations.read.decode import (
    Source,
    decode,
    decode_apart,
    format_of,
    load_format,
)
from phyda_cli.observations.report import ReadResult, merge

__all__ = ["decode_all", "read_observations"]

_SMALL = 4_000_000  # bytes of a text file read sooner than a worker starts


def read_observations(
    paths: Sequence[Path],
    mapping: Path | None = None,
    strict: bool = False,
    decimal: str | None = None,
) -> ReadResult:
    """All observations in ``paths`` (text tables, BUFR, NetCDF or ODB-2, possibly gzipped), and
    what became of every row.

    ``mapping`` is a TOML file that names the columns of the text tables (see
    :mod:`~phyda_cli.observations.read.columns`), ``decimal`` how they write numbers. Binary files,
    and several big text tables, are
    decoded in worker processes; the rows come in the order of ``paths``. Raises InputError when a
    file is missing, empty or of no known kind, and with ``strict`` for the first bad row.
    """
    chosen = None if mapping is None else load_mapping(mapping)
    if decimal is not None:
        if decimal not in ("point", "comma"):
            raise UsageError(f"--decimal {decimal}: expected point or comma")
        chosen = (chosen or ObservationMap()).model_copy(update={"decimal": decimal})
    result = merge(_read([Path(path) for path in paths], chosen))
    if strict and result.problems:
        shown = "; ".join(str(p) for p in result.problems[:3])
        raise InputError(
            f"{len(result.problems)} bad observation rows: {shown}",
            hint="without --strict they are rejected and reported",
        )
    return result


def _read(paths: list[Path], mapping: ObservationMap | None) -> list[ReadResult]:
    """The result of each file: small text tables in this process, the others in workers."""
    results: dict[int, ReadResult] = {}
    for i, path in enumerate(paths):
        source = Source(path)
        quick = not source.packed and (len(paths) == 1 or path.stat().st_size < _SMALL)
        if quick and format_of(source).harmless:
            results[i] = decode(path, mapping)
    others = [i for i in range(len(paths)) if i not in results]
    found = decode_all([paths[i] for i in others], mapping)
    results |= zip(others, found, strict=True)
    return [results[i] for i in range(len(paths))]


def decode_all(
    paths: Sequence[Path], mapping: ObservationMap | None, processes: int | None = None
) -> list[ReadResult]:
    """The observations of each file in the order of ``paths``, decoded in up to ``processes``
    workers (one a core).

    Raises the first InputError in that order.
    """

    def one(path: Path) -> ReadResult:
        load_format(path)
        return decode_apart(path, mapping)

    count = min(len(paths), processes or _cores())
    if count < 2:
        return [one(path) for path in paths]
    with ThreadPoolExecutor(count) as pool:  # each thread has a worker, which ends with it
        return list(pool.map(one, paths))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

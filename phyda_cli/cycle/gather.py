"""The observations of one cycle: wait until they are complete, copy them, and know the copies.

What is analysed is the copy, whose hash is recorded: a file that still grows cannot make the record
wrong.
"""

from __future__ import annotations

import glob
import itertools
import shutil
import time as system_time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from phyda_cli.cycle.clock import Clock
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import ObservationSource, filled

__all__ = ["Gathered", "InputFile", "copies_of", "gather", "inventory", "matching"]

_LOOK_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class InputFile:
    """An input as it was used: where it is, its size and its hash; ``copy`` is its name inside the
    cycle's folder."""

    path: str
    bytes: int
    sha256: str
    copy: str = ""

    def record(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True)
class Gathered:
    """``files`` of each source, in the order of the sources, and the ``faults`` that were met."""

    files: tuple[tuple[InputFile, ...], ...]
    faults: tuple[str, ...]


def matching(pattern: str, **fields: object) -> list[Path]:
    """The regular files that ``pattern`` names."""
    return sorted(p for p in map(Path, glob.glob(filled(pattern, **fields))) if p.is_file())


def copies_of(number: int) -> str:
    """The pattern of the names that copies of the files of source ``number`` have."""
    return f"{number:02d}_*"


def inventory(sources: Sequence[ObservationSource], time: datetime) -> dict[str, str]:
    """The hash of every file for the cycle of ``time`` that is not empty."""
    paths = (path for source in sources for path in matching(source.pattern, time=time))
    return {str(path): sha256(path) for path in paths if path.stat().st_size}


def gather(
    sources: Sequence[ObservationSource],
    time: datetime,
    folder: Path,
    clock: Clock,
    deadline: datetime,
    settle_seconds: float,
) -> Gathered:
    """Wait for the files of ``sources`` until ``deadline``, and copy them into ``folder``."""
    faults, files = [], []
    settled = _Settled(settle_seconds, clock)
    while True:
        waiting = [s for s in sources if not _complete(s, time, settled)]
        if not waiting or clock.now() >= deadline:
            break
        clock.sleep(min(_LOOK_EVERY, max(settle_seconds / 2, 0.1)))
    for number, source in enumerate(sources):
        ready = [
            p for p in matching(source.pattern, time=time) if settled(p) or _marked(source, time)
        ]
        if len(ready) < len(matching(source.pattern, time=time)):
            faults.append("observations_half_written")
        if not ready:
            faults.append("observations_missing" if source.required else "observations_late")
        prefix = copies_of(number).removesuffix("*")
        files.append(tuple(_copied(p, folder, prefix, faults) for p in ready))
    return Gathered(tuple(files), tuple(dict.fromkeys(faults)))


def _marked(source: ObservationSource, time: datetime) -> bool:
    return source.done_marker is not None and Path(filled(source.done_marker, time=time)).exists()


def _complete(source: ObservationSource, time: datetime, settled: _Settled) -> bool:
    if source.done_marker is not None:
        return _marked(source, time)
    paths = matching(source.pattern, time=time)
    states = [settled(path) for path in paths]
    return bool(paths) and all(states)


class _Settled:
    """Whether a file has kept its size for some seconds, as far as we have looked."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock = seconds, clock
        self._seen: dict[Path, tuple[int, datetime]] = {}

    def __call__(self, path: Path) -> bool:
        stat = path.stat()
        if stat.st_size == 0:
            return False
        if system_time.time() - stat.st_mtime >= self._seconds:
            return True
        size, since = self._seen.get(path, (-1, self._clock.now()))
        if size != stat.st_size:
            self._seen[path] = (stat.st_size, self._clock.now())
            return self._seconds == 0
        return (self._clock.now() - since).total_seconds() >= self._seconds


def _copied(path: Path, folder: Path, prefix: str, faults: list[str]) -> InputFile:
    folder.mkdir(exist_ok=True)
    copy = _free(folder, prefix, path.name)
    before = path.stat()
    shutil.copyfile(path, copy)
    size, after = copy.stat().st_size, path.stat()
    if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
        faults.append("observations_grew")
    return InputFile(str(path), size, sha256(copy), f"{folder.name}/{copy.name}")


def _free(folder: Path, prefix: str, name: str) -> Path:
    """Where a copy of a file ``name`` goes: files of one name lie in different folders."""
    middles = itertools.chain([""], (f"{number}_" for number in itertools.count(2)))
    copies = (folder / f"{prefix}{middle}{name}" for middle in middles)
    return next(copy for copy in copies if not copy.exists())

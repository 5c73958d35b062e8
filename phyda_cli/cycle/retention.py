"""What is removed: the oldest published and rejected cycles, never one that is still needed."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from phyda_cli.cycle.clock import stamp
from phyda_cli.cycle.folder import CycleFolder
from phyda_cli.settings.cycle import RetentionSettings

__all__ = ["retain"]


def retain(folder: CycleFolder, settings: RetentionSettings) -> list[str]:
    """Remove what ``settings`` do not keep; returns the names of the removed cycles.

    The last cycle stays, and so does the one that its report names as its previous one.
    """
    times = folder.times()
    if not times:
        return []
    last = folder.published(times[-1]).report
    needed = {stamp(times[-1]), last.get("previous", {}).get("cycle")}
    old = times[: -settings.cycles]
    if settings.bytes is not None:
        sizes = {time: _bytes(folder.of(time)) for time in times}
        old = times[: _surplus([sizes[time] for time in times], settings.bytes, len(old))]
    removed = [time for time in old if stamp(time) not in needed]
    for time in removed:
        _remove(folder, time)
    rejected = sorted((folder.root / "rejected").glob("????????T????Z"))
    for path in rejected[: max(0, len(rejected) - settings.rejected)]:
        shutil.rmtree(path)
    return [stamp(time) for time in removed]


def _surplus(sizes: list[int], most: int, at_least: int) -> int:
    """How many of the first cycles of ``sizes`` [bytes] must go so that the rest takes no more than
    ``most``."""
    count = at_least
    while count < len(sizes) and sum(sizes[count:]) > most:
        count += 1
    return count


def _remove(folder: CycleFolder, time: datetime) -> None:
    # Renamed first: a cycle that is half removed must not look like one.
    aside = folder.root / f".{stamp(time)}.part"
    shutil.rmtree(aside, ignore_errors=True)
    folder.of(time).rename(aside)
    shutil.rmtree(aside)


def _bytes(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())

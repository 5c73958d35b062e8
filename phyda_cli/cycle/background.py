"""The background of a cycle: the sources in their order, each from its youngest forecast on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from phyda_cli.cycle.child import run_limited
from phyda_cli.cycle.folder import Published
from phyda_cli.cycle.gather import matching
from phyda_cli.settings.cycle import BackgroundSource, fields_of, filled

__all__ = ["Candidate", "candidates", "youngest_is_there"]


@dataclass(frozen=True)
class Candidate:
    """A background that may be used: its file, how it was found, and its lead time [h] where its
    name says that. It is a ``fallback`` where a better one was wanted; ``lagged`` are the forecasts
    of earlier starts that go beside it. What the file itself states may be at most
    ``longest_hours``."""

    path: Path
    origin: str
    lead_hours: int | None
    fallback: bool
    lagged: tuple[Path, ...] = ()
    longest_hours: float = math.inf


def youngest_is_there(source: BackgroundSource, time: datetime) -> bool:
    """Whether the best forecast that ``source`` can have for ``time`` is there, so that nothing
    better comes. A command is always ready, and no forecast is young enough where all starts are
    longer ago than ``max_lead_hours``."""
    if source.pattern is None:
        return True
    if not fields_of(source.pattern) & {"start", "lead"}:
        return bool(matching(source.pattern, time=time))
    youngest = next(_starts(source, time, source.max_lead_hours), None)
    if youngest is None:
        return True
    lead, start = youngest
    return bool(matching(source.pattern, time=time, start=start, lead=lead))


def candidates(
    sources: Sequence[BackgroundSource],
    time: datetime,
    previous: Published | None,
    work: Path,
) -> Iterator[Candidate]:
    """Backgrounds for ``time``, the best first; a command runs when its turn comes, and writes into
    ``work``."""
    for number, source in enumerate(sources):
        if source.pattern is None:
            made = _from_command(source, time, previous, work, number)
            if made is not None:
                yield made
            continue
        longest = max(source.max_lead_hours, 1)
        if not fields_of(source.pattern) & {"start", "lead"}:
            for path in matching(source.pattern, time=time):
                yield Candidate(path, path.name, None, number > 0, longest_hours=longest)
            continue
        for rank, (lead, start) in enumerate(_starts(source, time, source.max_lead_hours)):
            for path in matching(source.pattern, time=time, start=start, lead=lead):
                origin = f"forecast of {start:%Y-%m-%dT%H}Z, {lead} h"
                older = _older(source, time, lead)
                yield Candidate(path, origin, lead, number + rank > 0, older, longest)


def _older(source: BackgroundSource, time: datetime, youngest: int) -> tuple[Path, ...]:
    """The forecasts that are valid at ``time`` and longer than ``youngest`` [h], one of each
    start."""
    assert source.pattern is not None
    starts = _starts(source, time, source.lagged_hours)
    found = (
        matching(source.pattern, time=time, start=start, lead=lead)[:1]
        for lead, start in starts
        if youngest < lead <= source.lagged_hours
    )
    return tuple(path for files in found for path in files)


def _starts(
    source: BackgroundSource, time: datetime, longest: int
) -> Iterator[tuple[int, datetime]]:
    """Lead times [h] and starts of forecasts valid at ``time``, the youngest first. A forecast of
    zero hours is an analysis of somebody else's, with the same observations in it."""
    every = source.starts_every_hours
    midnight = time.replace(hour=0, minute=0)
    start = midnight + timedelta(hours=(time.hour - 1) // every * every)
    while (lead := int((time - start).total_seconds() // 3600)) <= max(longest, 1):
        yield lead, start
        start -= timedelta(hours=every)


def _from_command(
    source: BackgroundSource, time: datetime, previous: Published | None, work: Path, number: int
) -> Candidate | None:
    if previous is None:
        return None
    age = (time - previous.time).total_seconds() / 3600
    if age > source.max_lead_hours:
        return None
    out = work / f"background_{number:02d}.nc"
    fields = {"time": time, "previous": str(previous.path / "analysis.nc"), "out": str(out)}
    words = [filled(word, **fields) for word in source.run]
    try:
        ended = run_limited(words, work / "log.txt", source.minutes)
    except OSError as error:
        with (work / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{words[0]} cannot be started: {error.strerror}\n")
        return None
    if ended.code != 0 or not out.is_file():
        return None
    return Candidate(out, f"{Path(words[0]).name} from {previous.path.name}", int(age), number > 0)

"""The time by which a cycle waits: the machine's, or a stated one that only waiting moves on."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["Clock", "stamp", "times_between"]

_FORMAT = "%Y%m%dT%H%MZ"


class Clock:
    """``now`` and ``sleep``. With ``stated`` nothing waits: a sleep moves the stated time on."""

    def __init__(self, stated: datetime | None = None) -> None:
        self._stated = stated

    def now(self) -> datetime:
        """The present time (UTC)."""
        return datetime.now(UTC) if self._stated is None else self._stated

    def sleep(self, seconds: float) -> None:
        """Wait."""
        if self._stated is None:
            time.sleep(seconds)
        else:
            self._stated += timedelta(seconds=seconds)


def stamp(time: datetime) -> str:
    """The name of a cycle, such as 20201001T0600Z; names sort by time."""
    return time.astimezone(UTC).strftime(_FORMAT)


def from_stamp(text: str) -> datetime:
    """The time of a cycle's name. Raises ValueError for any other text."""
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def times_between(
    first: datetime, after: datetime | None, until: datetime, hours: int
) -> list[datetime]:
    """Times of analyses from ``first`` on in steps of ``hours``: those later than ``after`` and not
    later than ``until``."""
    step = timedelta(hours=hours)
    start = first
    if after is not None and after >= first:
        start = first + ((after - first) // step + 1) * step
    return [start + i * step for i in range(max(0, (until - start) // step + 1))]

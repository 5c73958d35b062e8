"""What a training tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Lines", "Status", "Watch", "figures"]


@dataclass(frozen=True)
class Status:
    """A phase after a step: the ``terms`` of its loss, the last ``scores`` on validation cases,
    ``rate`` in steps a second, the share of the time ``waiting`` for data and whether the step was
    ``saved``."""

    phase: str
    step: int
    total: int
    terms: Mapping[str, float]
    scores: Mapping[str, float]
    learning_rate: float
    rate: float
    waiting: float
    saved: bool

    @property
    def seconds_left(self) -> float:
        """To the end of the schedule, at the pace so far."""
        return (self.total - self.step) / max(self.rate, 1e-9)


class Watch(Protocol):
    """Who is told."""

    def say(self, message: str) -> None:
        """A message to keep."""
        ...

    def step(self, status: Status) -> None:
        """After every step."""
        ...


class Lines:
    """Messages, and a line for every saved step."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def say(self, message: str) -> None:
        """As it is."""
        self._say(message)

    def step(self, status: Status) -> None:
        """Step and loss, now and then."""
        if status.saved:
            self._say(f"{status.phase} step {status.step}/{status.total} " + figures(status.terms))


def figures(values: Mapping[str, float]) -> str:
    """``name 0.1234`` for each."""
    return " ".join(f"{name} {value:.4f}" for name, value in values.items())

"""Which frames of which inputs make up each state: an input may hold all channels, or some of
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.formats.series import Series
from phyda_cli.names import VARIABLES, parse_channel

__all__ = ["Composition", "State", "compose_analyses", "compose_forecasts", "lacking"]

Parts = tuple[tuple[int, tuple[int, ...], int], ...]  # (input, rows of channels, frame)
Frame = tuple[int, int]  # (input, frame)
Start = tuple[np.datetime64, float, int]  # (valid time, lead, member)


@dataclass(frozen=True)
class State:
    """One state to be: its valid time, and for a forecast lead [hours], origin, and which start and
    lead it is a member of."""

    time: np.datetime64
    parts: Parts
    lead: float = 0.0
    cycled: bool = False
    group: int = -1


@dataclass(frozen=True, eq=False)
class Composition:
    """Inputs, the channels wanted of them, valid times from the first of ``span`` to before the
    second; ``skip`` incomplete states."""

    series: Sequence[Series]
    channels: tuple[str, ...]
    span: tuple[np.datetime64, np.datetime64]
    skip: bool
    notes: list[str] = field(default_factory=list)

    def frames(self, number: int) -> np.ndarray:
        """Frames of an input within the span."""
        valid = self.series[number].valid
        return np.flatnonzero((valid >= self.span[0]) & (valid < self.span[1]))

    @cached_property
    def rows(self) -> tuple[frozenset[int], ...]:
        """For each input the rows of the channels it has."""
        offered = [set(s.channels) for s in self.series]
        return tuple(
            frozenset(row for row, key in enumerate(self.channels) if key in has) for has in offered
        )

    def parts(self, candidates: Sequence[Frame]) -> Parts | None:
        """The first of ``candidates`` with all channels, else each channel from the first that has
        it; None: some have none."""
        everything = frozenset(range(len(self.channels)))
        for number, frame in candidates:
            if self.rows[number] == everything:
                return ((number, tuple(range(len(everything))), frame),)
        parts, left = [], everything
        for number, frame in candidates:
            if taken := left & self.rows[number]:
                parts.append((number, tuple(sorted(taken)), frame))
                left -= taken
        return None if left else tuple(parts)


def compose_analyses(composition: Composition) -> list[State]:
    """A state for every valid time, of the first member; from lead zero of forecasts only where no
    input is of analyses."""
    series = composition.series
    pure = [n for n, s in enumerate(series) if s.valid.size and not s.forecasts]
    numbers = pure or [n for n, s in enumerate(series) if np.any(s.lead == 0)]
    if not numbers:
        raise InputError(
            "no analysis file among the inputs (a file without a forecast step)",
            hint="give the analyses that the forecasts are to match",
        )
    at: dict[np.datetime64, list[Frame]] = {}
    for number in numbers:
        s = series[number]
        for frame in composition.frames(number):
            if s.lead[frame] == 0 and s.member[frame] == 0:
                at.setdefault(s.valid[frame], []).append((number, int(frame)))
    states, incomplete, twice = [], [], 0
    for time in sorted(at):
        parts = composition.parts(at[time])
        if parts is None:
            incomplete.append(time)
        else:
            states.append(State(time, parts))
            twice += len(parts) < len(at[time])
    if incomplete and (not composition.skip or not states):
        raise _incomplete(composition, at[incomplete[0]], incomplete[0], len(incomplete))
    if incomplete:
        composition.notes.append(
            f"{len(incomplete)} times lack some channel and are left out, the first {incomplete[0]}"
        )
    if twice:
        composition.notes.append(
            f"{twice} times are in more than one file; the first that is named counts"
        )
    return states


def compose_forecasts(
    composition: Composition, times: set[np.datetime64], none: bool, only_cycled: bool
) -> list[State]:
    """Forecasts valid at the ``times`` of analyses, in the order of the inputs.

    A frame with all channels is a state of its own; others are put together by start, lead and
    member.
    """
    states: list[State] = []
    parted: dict[Start, list[Frame]] = {}
    groups: dict[tuple[int | None, np.datetime64, float], int] = {}
    for number, s in enumerate(composition.series):
        cycled = "cycled" in s.attributes.get("source", "")
        if none or not s.forecasts or (only_cycled and not cycled) or not composition.rows[number]:
            continue
        whole = len(composition.rows[number]) == len(composition.channels)
        for frame in composition.frames(number):
            time, lead = s.valid[frame], float(s.lead[frame])
            if lead <= 0 or time not in times:
                continue
            if not whole:
                parted.setdefault((time, lead, int(s.member[frame])), []).append(
                    (number, int(frame))
                )
                continue
            parts = composition.parts([(number, int(frame))])
            assert parts is not None
            group = groups.setdefault((number, time, lead), len(groups))
            states.append(State(time, parts, lead, cycled, group))
    return _with_parted(composition, states, parted, groups)


def _with_parted(
    composition: Composition,
    states: list[State],
    parted: dict[Start, list[Frame]],
    groups: dict[tuple[int | None, np.datetime64, float], int],
) -> list[State]:
    incomplete = []
    for (time, lead, member), frames in parted.items():
        parts = composition.parts(frames)
        if parts is None:
            incomplete.append((time, lead, member))
            continue
        states.append(
            State(time, parts, lead, False, groups.setdefault((None, time, lead), len(groups)))
        )
    if incomplete and not composition.skip:
        time, lead, _ = incomplete[0]
        raise _incomplete(
            composition, parted[incomplete[0]], time, len(incomplete), f" +{lead:g} h"
        )
    if incomplete:
        composition.notes.append(f"{len(incomplete)} forecasts lack some channel and are left out")
    return states


def lacking(composition: Composition) -> InputError:
    """No analysis within the span."""
    first, last = (np.concatenate([s.valid for s in composition.series]) for _ in range(2))
    return InputError(
        f"no analyses from {composition.span[0]} to {composition.span[1]}; the inputs are valid "
        f"from {first.min()} to {last.max()}",
        hint="see --first and --last",
    )


def _incomplete(
    composition: Composition,
    candidates: Sequence[Frame],
    time: np.datetime64,
    count: int,
    lead: str = "",
) -> InputError:
    """Says which channel no input has at ``time``, and what there is."""
    numbers = list(dict.fromkeys(n for n, _ in candidates))
    offered = [key for n in numbers for key in composition.series[n].channels]
    key = next(k for k in composition.channels if k not in offered)
    channel = parse_channel(key)
    found = [parse_channel(k) for k in offered]
    levels = sorted(
        {c.level for c in found if c.variable == channel.variable and c.level is not None}
    )
    paths = ", ".join(str(composition.series[n].path) for n in numbers[:3]) + (
        ", …" if len(numbers) > 3 else ""
    )
    when = f" at {str(time)[:16]}{lead}" + (f" and {count - 1} other times" if count > 1 else "")
    if levels:
        what = (
            f"{channel.variable} has no level {channel.level:g} hPa{when}; found "
            f"{[int(p) if p == int(p) else p for p in levels]}"
        )
    else:
        what = (
            f"no variable for channel {key}{when}; found "
            f"{', '.join(dict.fromkeys(c.variable for c in found)) or 'none'}"
        )
    known = VARIABLES[channel.variable].long_name
    return InputError(
        f"{paths}: {what}",
        hint=f"give the file with the {known}, choose others with --channels or --variables and "
        "--levels, or --missing skip",
    )

"""Statistics of a training store in one pass over its states, block by block: moments that merge,
never the states themselves.

Blocks have a fixed size and are merged in order, so that the result does not depend on threads,
processes or interruptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from phyda_cli.fields.grid import Grid
from phyda_cli.preprocessing.pairs import PairTable
from phyda_cli.preprocessing.store import States

__all__ = ["Span", "measure", "merge", "moments", "spans"]


@dataclass(frozen=True, eq=False)
class Span:
    """States from ``start`` to before ``stop``: which of them count (n,), and the pairs (p, 2)
    whose background is one of them."""

    number: int
    start: int
    stop: int
    used: np.ndarray
    pairs: np.ndarray
    scale: np.ndarray


def spans(table: PairTable, count: int, state_bytes: int, span_bytes: int) -> Iterator[Span]:
    """The ``count`` states in order, so many bytes of them in each span, with the training pairs of
    the largest scale: the genuine ones, where others are scaled."""
    training = np.flatnonzero(table.split == 0)
    genuine = (
        training[table.scale[training] == table.scale[training].max()]
        if training.size
        else training
    )
    used = np.zeros(count, bool)
    used[np.unique(table.pairs[training])] = True
    order = genuine[np.argsort(table.pairs[genuine, 0], kind="stable")]
    background = table.pairs[order, 0]
    size = max(1, span_bytes // state_bytes)
    for number, start in enumerate(range(0, count, size)):
        stop = min(start + size, count)
        own = order[np.searchsorted(background, start) : np.searchsorted(background, stop)]
        yield Span(number, start, stop, used[start:stop], table.pairs[own], table.scale[own])


def measure(store: Path, span: Span) -> dict[str, np.ndarray]:
    """:func:`moments` of a span of the store being made."""
    return moments(States.of(zarr.open_group(str(store), mode="r")), span)


def moments(states: States | np.ndarray, span: Span) -> dict[str, np.ndarray]:
    """Moments of a span of ``states`` (state, C, H, W), by channel and latitude: ``count`` of
    states, ``mean`` and summed square deviation ``square`` (C, H) of their values; ``pairs`` and
    summed mean square ``error`` (C, H) of the scaled differences of the pairs."""
    values = states[span.start : span.stop]
    shape, count = values.shape[1:3], int(span.used.sum())
    mean, square, error = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for c in range(shape[0] if count else 0):  # one channel at a time is in float64
        own = values[span.used, c].astype(np.float64)
        mean[c] = own.mean(axis=(0, 2))
        square[c] = ((own - mean[c][:, None]) ** 2).sum(axis=(0, 2))
    for (background, truth), scale in zip(span.pairs, span.scale, strict=True):
        other = (
            values[truth - span.start] if span.start <= truth < span.stop else states[int(truth)]
        )
        difference = scale * (other.astype(np.float64) - values[background - span.start])
        error += (difference**2).mean(axis=-1)
    return {
        "count": np.array(count),
        "mean": mean,
        "square": square,
        "pairs": np.array(len(span.pairs)),
        "error": error,
    }


def merge(moments: Iterable[dict[str, np.ndarray]], grid: Grid) -> dict[str, np.ndarray]:
    """``mean``, ``std`` and ``background_std`` (rms of the pair differences) by channel (C,),
    area-weighted, from the moments of spans in order (Chan et al. 1983,
    doi:10.1080/00031305.1983.10483115)."""
    total: dict[str, np.ndarray] | None = None
    width = grid.shape[1]
    for m in moments:
        if total is None:
            total = dict(m)
            continue
        n, k = int(total["count"]), int(m["count"])
        if k:
            apart = m["mean"] - total["mean"]
            total["mean"] = total["mean"] + apart * k / (n + k)
            total["square"] = total["square"] + m["square"] + apart**2 * width * n * k / (n + k)
        total["count"] = total["count"] + k
        total["pairs"], total["error"] = total["pairs"] + m["pairs"], total["error"] + m["error"]
    assert total is not None
    variance = total["square"] / max(width * int(total["count"]), 1)
    error = total["error"] / max(int(total["pairs"]), 1)
    weights = grid.area_weights
    mean = (total["mean"] * weights).mean(axis=1)
    spread = variance + (total["mean"] - mean[:, None]) ** 2
    return {
        "mean": mean,
        "std": np.sqrt((spread * weights).mean(axis=1)),
        "background_std": np.sqrt((error * weights).mean(axis=1)),
    }

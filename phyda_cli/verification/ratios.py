"""Summaries that commands print; no heavy imports."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["mean_ratio"]


def mean_ratio(ratios: Iterable[float | None]) -> float | None:
    """Mean of the known ``ratios``, None when there is none."""
    known = [r for r in ratios if r is not None]
    return sum(known) / len(known) if known else None

"""Upper-air fields that are computed a level at a time, when they are asked for: on a fine grid
increment, analysis and spread would not fit in memory side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

__all__ = ["Layered", "is_absent", "plane"]


class Layered(Mapping[str, np.ndarray]):
    """Fields (L, H, W) of ``names`` on ``count`` levels, of which ``compute`` gives the level k of
    a name (H, W). The level asked for last is kept."""

    def __init__(
        self, names: Iterable[str], count: int, compute: Callable[[str, int], np.ndarray]
    ) -> None:
        self._names, self._count, self._compute = dict.fromkeys(names), count, compute
        self._last: tuple[tuple[str, int], np.ndarray] | None = None

    def plane(self, name: str, level: int) -> np.ndarray:
        """One level of ``name`` (H, W), not to be written to."""
        if self._last is None or self._last[0] != (name, level):
            self._last = (name, level), self._compute(name, level)
        return self._last[1]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return np.stack([self._compute(name, k) for k in range(self._count)])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def plane(upper: Mapping[str, np.ndarray], name: str, level: int) -> np.ndarray:
    """One level (H, W) of a field, without computing the others."""
    if isinstance(upper, Layered):
        return upper.plane(name, level)
    return np.asarray(upper[name][level])


def is_absent(values: np.ndarray) -> bool:
    """Whether a level is missing: NaN everywhere."""
    return bool(np.isnan(values.flat[0]) and np.isnan(values).all())

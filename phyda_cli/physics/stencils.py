"""Finite differences on uneven points, and constant terms that follow a state's type and device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Derivative", "Terms"]


class Terms:
    """Named constant arrays, kept in float64 and handed out as tensors in the type and on the
    device of a state."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self._arrays = arrays
        self._cache: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def like(self, f: Tensor) -> dict[str, Tensor]:
        """Every term with the dtype and device of ``f``, converted once."""
        key = (f.dtype, f.device)
        if key not in self._cache:
            with torch.inference_mode(
                False
            ):  # a term first asked for while sampling must still serve in training
                self._cache[key] = {
                    name: torch.tensor(array, dtype=f.dtype, device=f.device)
                    for name, array in self._arrays.items()
                }
        return self._cache[key]


class Derivative:
    """d/dx over uneven ``points`` (n,) along axis ``dim`` (negative), second order, one-sided at
    both ends.

    Every value combines two neighbouring differences of f, so that a large constant costs no
    accuracy in float32, and none is a matrix product, which autocast or TF32 would round. Two
    points give their slope, a single one gives zero. ``ends`` says whether the first and the last
    point are wanted at all; they are not where they only continue the grid.
    """

    def __init__(
        self, points: np.ndarray, dim: int, ends: tuple[bool, bool] = (True, True)
    ) -> None:
        self.dim, self.size, self.ends = dim, points.size, ends
        step = np.diff(np.asarray(points, np.float64))
        lower, upper = step[:-1], step[1:]
        ratio = lower / (lower + upper)
        # of the differences below and above a point: slopes inter- or extrapolated from their
        # midpoints
        weights = {
            "step": step,
            "centre_below": (1 - ratio) / lower,
            "centre_above": ratio / upper,
            "first_below": ((1 + ratio) / lower)[:1],
            "first_above": (-ratio / upper)[:1],
            "last_below": ((ratio - 1) / lower)[-1:],
            "last_above": ((2 - ratio) / upper)[-1:],
        }
        self._terms = Terms(
            **{name: w.reshape(-1, *(1,) * (-dim - 1)) for name, w in weights.items()}
        )

    def __call__(self, f: Tensor) -> Tensor:
        """Derivative of ``f`` [units of f over units of the points], same shape but for ends that
        are not wanted."""
        if self.size == 1:
            return torch.zeros_like(f)
        terms, dim, n = self._terms.like(f), self.dim, self.size
        difference = torch.diff(f, dim=dim)
        if n == 2:
            slope = difference / terms["step"]
            return torch.cat([slope, slope], dim)

        def combine(point: str, start: int, length: int) -> Tensor:
            below, above = (
                difference.narrow(dim, start, length),
                difference.narrow(dim, start + 1, length),
            )
            return torch.addcmul(below * terms[point + "_below"], above, terms[point + "_above"])

        parts = [combine("centre", 0, n - 2)]
        if self.ends[0]:
            parts.insert(0, combine("first", 0, 1))
        if self.ends[1]:
            parts.append(combine("last", n - 3, 1))
        return torch.cat(parts, dim) if len(parts) > 1 else parts[0]

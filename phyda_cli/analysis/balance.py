"""The physics projection on a checkpoint's channel stack: which channels form which constraint."""

from __future__ import annotations

import numpy as np
import torch

from phyda_cli.fields.state import StateSpec
from phyda_cli.physics.column import Column
from phyda_cli.physics.projection import Air, MassProjection, limit_humidity, project_columns
from phyda_cli.physics.sphere import Sphere

__all__ = ["Constraints"]


class Constraints:
    """Projects increments on the model grid, see :mod:`phyda_cli.physics.projection`.

    ``background`` and the error ``sigma``, which is the metric, are (C, H, W) in physical units.
    ``available`` (C,) says which channels the background has: a constraint takes the levels that
    all its variables have there, and is left out without enough of them. Air without humidity is
    dry.
    """

    def __init__(
        self, spec: StateSpec, background: np.ndarray, sigma: np.ndarray, available: np.ndarray
    ) -> None:
        self._channels: dict[str, dict[float, int]] = {}
        for index, channel in enumerate(spec.channel_list):
            if channel.pressure is not None and available[index]:
                self._channels.setdefault(channel.variable, {})[channel.pressure] = index
        self._background, self._sigma = (
            torch.tensor(np.asarray(f, np.float64)) for f in (background, sigma)
        )
        self._humid = "q" in self._channels
        self._balanced = self._levels("ztq" if self._humid else "zt", least=2)
        self._moist = self._balanced or self._levels("tq", least=1)
        levels = self._levels("uv", least=2)
        self._wind = [self._index(v, levels) for v in "uv"] if levels else []
        if levels:
            sphere = Sphere(spec.grid.latitude, spec.grid.longitude)
            self._mass = MassProjection(
                sphere, Column(np.array(levels)), *(self._sigma[i] for i in self._wind)
            )

    def _levels(self, variables: str, least: int) -> list[float]:
        """Pressures that all ``variables`` share, none when they are fewer than ``least``."""
        shared = sorted(set.intersection(*(set(self._channels.get(v, {})) for v in variables)))
        return shared if len(shared) >= least else []

    def _index(self, variable: str, levels: list[float]) -> list[int]:
        return [self._channels[variable][p] for p in levels]

    def __call__(self, increment: np.ndarray) -> np.ndarray:
        """The projection of ``increment`` (C, H, W), float64; one that is not finite comes back as
        it is."""
        if not np.isfinite(increment).all():
            return np.asarray(increment, np.float64)
        x = torch.tensor(np.asarray(increment, np.float64))
        if self._balanced:
            self._project_air(x)
        elif self._moist:
            t, q = (self._index(v, self._moist) for v in "tq")
            x[q] = limit_humidity(
                Column(np.array(self._moist)), self._background[t], self._background[q], x[t], x[q]
            )
        if self._wind:
            u, v = self._wind
            x[u], x[v] = self._mass(x[u], x[v])
        return x.numpy()

    def _project_air(self, x: torch.Tensor) -> None:
        """Hydrostatic balance and humidity of ``x``, in place."""
        index = [self._index(v, self._balanced) for v in ("ztq" if self._humid else "zt")]

        def air(stack: torch.Tensor) -> Air:
            z, t, *q = (stack[i] for i in index)
            return Air(z, t, q[0] if q else torch.zeros_like(t))

        projected = project_columns(
            Column(np.array(self._balanced)), air(self._background), air(x), air(self._sigma)
        )
        for i, field in zip(index, projected, strict=False):
            x[i] = field

"""The grid, levels and variables that several states share, to compare their physics on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.remap import present, to_grid
from phyda_cli.names import Channel
from phyda_cli.verification.channels import coarser

__all__ = ["PRIMITIVE", "CommonLayout", "common_layout"]

PRIMITIVE = ("z", "t", "u", "v", "q")


@dataclass(frozen=True, eq=False)
class CommonLayout:
    """``variables`` of z t u v q on ``levels`` (L,) [Pa], top-down, and ``grid``.

    ``above`` (L, H, W) is False below ground.
    """

    grid: Grid
    levels: np.ndarray
    variables: tuple[str, ...]
    above: np.ndarray
    notes: tuple[str, ...]

    def read(self, fields: Fields) -> dict[str, np.ndarray]:
        """The variables of ``fields`` (L, H, W) float64, NaN outside their area."""
        channels = [Channel(v, p / 100) for v in self.variables for p in self.levels]
        values = to_grid(fields, channels, self.grid)[0].reshape(
            -1, self.levels.size, *self.grid.shape
        )
        return dict(zip(self.variables, values, strict=True))


def common_layout(states: Mapping[str, Fields]) -> CommonLayout:
    """The variables that all ``states`` have, the levels they have them on, the coarsest grid.

    Levels are the same to 0.1 %. A point is below ground where the level's pressure exceeds the
    surface pressure ``sp``, or else where its geopotential is that of a height below the
    ``orography``, in the first state that knows; where none does, all points count.
    Raises InputError when no level is common.
    """
    grid = next(iter(states.values())).grid
    for fields in states.values():
        grid = coarser(grid, fields.grid)
    own = {name: _levels(fields) for name, fields in states.items()}
    variables = tuple(v for v in PRIMITIVE if all(v in levels for levels in own.values()))
    sets = [levels[v] for levels in own.values() for v in variables]
    first = np.sort(next(iter(states.values())).levels)
    levels = np.array([p for p in first if sets and all(_has(s, p) for s in sets)])
    if levels.size == 0:
        raise InputError(
            f"no pressure level is common to {' '.join(variables) or 'z t u v q'} "
            f"in all states: {_described(own)}",
            hint="the physics needs z and t, or u and v, or q on the same pressure levels",
        )
    notes = (
        [f"all states are taken to the {grid.shape[1]}x{grid.shape[0]} grid first"]
        if _differ(states, grid)
        else []
    )
    lost = [p for p in np.unique(np.concatenate(sets)) if not _has(levels, p)]
    if lost:
        notes.append(
            f"levels without {' '.join(variables)} in every state are left out: {_hpa(lost)}"
        )
    above, how = _above_ground(states, grid, levels)
    return CommonLayout(grid, levels, variables, above, (*notes, how))


def _levels(fields: Fields) -> dict[str, np.ndarray]:
    """Pressures at which each of the primitive variables exists [Pa]."""
    there = present(fields)
    return {v: fields.levels[there[v]] for v in PRIMITIVE if v in there and there[v].any()}


def _has(levels: np.ndarray, pressure: float) -> bool:
    return bool((np.abs(levels - pressure) <= 1e-3 * pressure).any())


def _differ(states: Mapping[str, Fields], grid: Grid) -> bool:
    return not all(grid.same_as(fields.grid) for fields in states.values())


def _hpa(levels: list[float]) -> str:
    return ", ".join(f"{p / 100:g}" for p in levels) + " hPa"


def _described(own: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    each = (
        "; ".join(f"{v} at {_hpa(list(p))}" for v, p in levels.items()) or "none of z, t, u, v, q"
        for levels in own.values()
    )
    return " | ".join(f"the {name} has {text}" for name, text in zip(own, each, strict=True))


def _above_ground(
    states: Mapping[str, Fields], grid: Grid, levels: np.ndarray
) -> tuple[np.ndarray, str]:
    """Which points lie above ground (L, H, W), and how that was told."""
    for name, fields in states.items():
        if "sp" in fields.surface:
            surface = to_grid(fields, [Channel("sp")], grid)[0]
            return levels[
                :, None, None
            ] <= surface, f"points below ground (sp of the {name}) are left out"
    for name, fields in states.items():
        if "orography" in fields.surface and "z" in fields.upper:
            z = to_grid(fields, [Channel("z", p / 100) for p in levels], grid)[0]
            ground = GRAVITY * to_grid(fields, [Channel("orography")], grid)[0]
            return (z >= ground) | np.isnan(
                z
            ), f"points below ground (z and orography of the {name}) are left out"
    return np.ones(
        (levels.size, *grid.shape), bool
    ), "points below ground count too: no state has sp, or orography and z"

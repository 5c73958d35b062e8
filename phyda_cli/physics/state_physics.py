"""The Physically Regularized Diffusion Objective's residual term: the denoised state's physics
against the truth's own.

PRDO = mean over equations k of |R_k(xhat0) - R_k(x0)|^2 / V_k, with xhat0 the denoiser's own
estimate in physical units (arXiv 2505.12882, with the truth's residual as the target because a
discretised truth does not have zero residual). V_k is the same difference for the background, so
that a value of one means "as unphysical as the background error".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from phyda_cli.fields.state import StateSpec
from phyda_cli.physics.residuals import Residuals

__all__ = ["StatePhysics"]

PRIMITIVE = ("z", "t", "u", "v", "q")


class StatePhysics:
    """Residuals of channel stacks (..., C, H, W) in physical units; equations the channels cannot
    form are left out.

    ``levels`` [Pa] are those common to all variables, ``channels`` where each variable has them in
    a stack.
    """

    def __init__(self, spec: StateSpec) -> None:
        by_variable: dict[str, dict[float, int]] = {}
        for index, channel in enumerate(spec.channel_list):
            if channel.level is not None and channel.variable in PRIMITIVE:
                by_variable.setdefault(channel.variable, {})[channel.level] = index
        common = (
            set.intersection(*(set(levels) for levels in by_variable.values()))
            if by_variable
            else set()
        )
        self.levels = np.array(sorted(common)) * 100.0
        self.channels = {
            v: [levels[p / 100.0] for p in self.levels] for v, levels in by_variable.items()
        }
        self._residuals = Residuals(self.levels, spec.grid) if self.levels.size else None

    def residuals(self, state: Tensor) -> dict[str, Tensor]:
        """Residual fields by equation, see :class:`Residuals`; empty when there are none."""
        if self._residuals is None:
            return {}
        return self._residuals(**{v: state[..., i, :, :] for v, i in self.channels.items()})

    def mean_square(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Area-weighted mean square of residual fields, or of their differences, by equation and
        layer (..., layers)."""
        return (
            self._residuals.mean_square(fields, by_layer=True)
            if self._residuals is not None
            else {}
        )

    def difference(self, state: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """|R_k(state) - R_k(truth)|^2 by equation and layer, (..., layers)."""
        ours, target = self.residuals(state), self.residuals(truth)
        return self.mean_square({k: ours[k] - target[k] for k in ours})

    def objective(
        self, state: Tensor, truth: Tensor, scale: Mapping[str, Sequence[float]]
    ) -> Tensor:
        """PRDO (B,) of states (B, C, H, W); ``scale`` holds V_k of every layer, which differ a
        hundredfold."""
        difference = self.difference(state, truth)
        if not difference:
            return state.new_zeros(state.shape[0])
        ratios = [
            (value / value.new_tensor(scale[k])).mean(dim=-1) for k, value in difference.items()
        ]
        return torch.stack(ratios).mean(dim=0)

"""The virtual reconstruction: stage 1's increment and spread, and what it has left unfitted, as the encoder sees them.

Everything here is in normalised increments, d = (x - x_b) / s_b.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.local_ensemble import Columns, solve
from phyda_cli.fields.grid import Grid

__all__ = ["Ensemble", "Virtual", "reconstruct", "without_observations"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Background-error members with their solver settings.

    ``members`` (N, C, H, W), scaled so that their outer products sum to B; ``columns`` where weights are solved;
    ``radius`` of localisation [m].
    """

    members: torch.Tensor
    grid: Grid
    columns: Columns
    radius: float
    _transposed: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flat = self.members.reshape(self.members.shape[0], -1).T
        object.__setattr__(self, "_transposed", np.ascontiguousarray(flat.cpu().numpy()))

    def observed(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Observed members (P, N) of the operator ``matrix`` (P, C*H*W)."""
        return np.asarray(matrix @ self._transposed)


@dataclass(frozen=True)
class Virtual:
    """Fields (C, H, W): ``increment``, its ``spread``, the background's own ``prior_spread``; ``residual``, the
    pointwise analysis of what the increment leaves unfitted; ``information`` in 0..1, how far each point is observed."""

    increment: torch.Tensor
    spread: torch.Tensor
    prior_spread: torch.Tensor
    residual: torch.Tensor
    information: torch.Tensor


def reconstruct(
    ensemble: Ensemble,
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    error: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> Virtual:
    """Stage 1 for P observations.

    Args:
        matrix: operator on the flattened normalised increment, (P, C*H*W) [observation units].
        innovation: y - H(x_b), (P,) [observation units]; error: its standard deviation sigma_o, (P,).
        latitude, longitude: (P,) [degrees].

    The residual field is g / (1 + i) with g = H' R^-1 (y - H x_a) and i = diag(H' R^-1 H): a scalar analysis of the
    remaining innovation at each point, whatever the operator.
    """
    shape = ensemble.members.shape[1:]
    observed = (ensemble.observed(matrix) / error[:, None]).T
    like = ensemble.members
    stage1 = solve(
        like,
        torch.as_tensor(np.ascontiguousarray(observed)).to(like),
        torch.as_tensor(innovation / error).to(like),
        latitude,
        longitude,
        ensemble.grid,
        ensemble.columns,
        ensemble.radius,
    )
    scaled = sparse.diags_array(1.0 / error) @ matrix
    left = innovation / error - scaled @ stage1.increment.cpu().numpy().ravel()
    information = np.asarray(scaled.multiply(scaled).sum(axis=0)).reshape(shape)
    residual = (scaled.T @ left).reshape(shape) / (1 + information)

    def as_field(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32)).to(like)

    return Virtual(stage1.increment, stage1.spread, stage1.prior_spread, as_field(residual), as_field(information / (1 + information)))


def without_observations(ensemble: Ensemble) -> Virtual:
    """What stage 1 makes of no observation at all: the background and its spread."""
    nothing = np.zeros(0, np.float32)
    return reconstruct(ensemble, sparse.csr_matrix((0, ensemble.members[0].numel())), nothing, nothing, nothing, nothing)

"""The virtual reconstruction: stage 1's increment and spread, and what it has left unfitted, as the
encoder sees them.

Everything here is in normalised increments, d = (x - x_b) / s_b.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.localisation import Draws, Localisation, Observed
from phyda_cli.analysis.solver import Reconstruction, solve
from phyda_cli.parallel.ranks import in_parts

__all__ = [
    "Ensemble",
    "Virtual",
    "observe",
    "reconstruct",
    "solve_in_parts",
    "without_observations",
]


ROWS_AT_ONCE = 50_000  # the ensemble at the observations may be larger than everything else


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Background-error ``members`` (N, C, H, W), scaled so that their outer products sum to B, and
    how they are localised."""

    members: torch.Tensor
    localisation: Localisation
    _transposed: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        flat = self.members.reshape(self.members.shape[0], -1).T
        object.__setattr__(self, "_transposed", np.ascontiguousarray(flat.cpu().numpy()))

    def observed(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Observed members (P, N) of the operator ``matrix`` (P, C*H*W)."""
        return np.asarray(matrix @ self._transposed)

    def spread_at(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """Standard deviation of the background's error in observation space, (P,)."""
        parts = range(0, matrix.shape[0], ROWS_AT_ONCE)
        return np.concatenate(
            [
                np.zeros(0),
                *(
                    np.sqrt((self.observed(matrix[i : i + ROWS_AT_ONCE]) ** 2).sum(axis=1))
                    for i in parts
                ),
            ]
        )


@dataclass(frozen=True)
class Virtual:
    """Fields (C, H, W): ``increment``, its ``spread``, the background's own ``prior_spread``;
    ``residual``, the pointwise analysis of what the increment leaves unfitted; ``information`` in
    0..1, how far each point is observed; ``perturbations`` (K, C, H, W) draws of the analysis
    error."""

    increment: torch.Tensor
    spread: torch.Tensor
    prior_spread: torch.Tensor
    residual: torch.Tensor
    information: torch.Tensor
    perturbations: torch.Tensor


def observe(
    ensemble: Ensemble,
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    error: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> Observed:
    """What the solver needs of P observations, in the order it works in; arguments as in
    :func:`reconstruct`."""
    like, where = ensemble.members, ensemble.localisation
    order = where.order(latitude, longitude)
    matrix, innovation, error, latitude, longitude = (
        matrix[order],
        innovation[order],
        error[order],
        latitude[order],
        longitude[order],
    )
    scaled = (sparse.diags_array((1.0 / error).astype(matrix.dtype)) @ matrix).tocsr()
    members = np.ascontiguousarray(ensemble.observed(scaled).T)
    log_pressure = None
    if where.radius_log_p is not None and where.log_pressure is not None:
        log_pressure = _log_pressure(matrix, where.log_pressure)
    return Observed(
        torch.as_tensor(members).to(like),
        torch.as_tensor(innovation / error).to(like),
        latitude,
        longitude,
        log_pressure,
    )


def _log_pressure(matrix: sparse.csr_matrix, channels: np.ndarray) -> np.ndarray:
    """Where observations lie in the vertical (P,) [ln Pa]: the mean of the ``channels``' (C,),
    weighted by what H takes from each.

    For a report at a level this is its own; one between levels, or of a layer, lies where most of
    its signal comes from.
    """
    weight = abs(matrix).tocoo()
    level = channels[weight.col // (matrix.shape[1] // channels.size)]
    total, moment = (
        np.bincount(weight.row, weight.data * f, matrix.shape[0])
        for f in (np.ones(level.size), level)
    )
    return np.where(total > 0, moment / np.where(total > 0, total, 1.0), channels.max())


def solve_in_parts(
    ensemble: Ensemble, observed: Observed, draws: Draws | None = None
) -> Reconstruction:
    """:func:`~phyda_cli.analysis.solver.solve`, each rank in its own band of latitudes."""
    members = ensemble.members

    def band(rows: slice) -> torch.Tensor:
        part = solve(members, observed, ensemble.localisation, draws, rows)
        return torch.cat(
            [torch.stack([part.increment, part.spread, part.prior_spread]), part.perturbations]
        )

    whole = in_parts(members.shape[2], band, members, dim=2)
    return Reconstruction(whole[0], whole[1], whole[2], whole[3:])


def reconstruct(
    ensemble: Ensemble,
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    error: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    draws: int = 0,
    seed: int = 0,
) -> Virtual:
    """Stage 1 for P observations.

    Args:
        matrix: operator on the flattened normalised increment, (P, C*H*W) [observation units].
        innovation: y - H(x_b), (P,) [observation units]; error: its standard deviation sigma_o,
            (P,).
        latitude, longitude: (P,) [degrees].
        draws: perturbations to draw from the posterior with ``seed``.

    The residual field is g / (1 + i) with g = H' R^-1 (y - H x_a) and i = diag(H' R^-1 H): a scalar
    analysis of the remaining innovation at each point, whatever the operator.
    """
    like = ensemble.members
    shape = like.shape[1:]
    observed = observe(ensemble, matrix, innovation, error, latitude, longitude)
    stage1 = solve_in_parts(ensemble, observed, Draws.random(observed, draws, seed))
    scaled = sparse.diags_array(1.0 / error) @ matrix
    left = innovation / error - scaled @ stage1.increment.cpu().numpy().ravel()
    information = np.asarray(scaled.multiply(scaled).sum(axis=0)).reshape(shape)
    residual = (scaled.T @ left).reshape(shape) / (1 + information)

    def as_field(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32)).to(like)

    return Virtual(
        stage1.increment,
        stage1.spread,
        stage1.prior_spread,
        as_field(residual),
        as_field(information / (1 + information)),
        stage1.perturbations,
    )


def without_observations(ensemble: Ensemble) -> Virtual:
    """What stage 1 makes of no observation at all: the background and its spread."""
    nothing = np.zeros(0, np.float32)
    return reconstruct(
        ensemble,
        sparse.csr_matrix((0, ensemble.members[0].numel())),
        nothing,
        nothing,
        nothing,
        nothing,
    )

"""The virtual reconstruction: stage 1's increment and spread, and what it has left unfitted, as the
encoder sees them.

Everything here is in normalised increments, d = (x - x_b) / s_b.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.localisation import Draws, Localisation, Observed
from phyda_cli.analysis.solver import Reconstruction, solve
from phyda_cli.parallel.ranks import in_parts

__all__ = [
    "Ensemble",
    "Observations",
    "Virtual",
    "in_units",
    "observe",
    "reconstruct",
    "solve_in_parts",
]


ROWS_AT_ONCE = 50_000  # the ensemble at the observations may be larger than everything else


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Background-error ``members`` (N, C, H, W), scaled so that their outer products sum to B, and
    how they are localised.

    In memory the members of one value lie together: operators and sums of members read them so."""

    members: torch.Tensor
    localisation: Localisation
    _transposed: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        together = self.members.flatten(1).T.contiguous()
        object.__setattr__(self, "members", together.T.unflatten(1, self.members.shape[1:]))
        object.__setattr__(self, "_transposed", together.numpy(force=True))

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Observations:
    """P observations of an increment on the model grid.

    ``matrix`` (P, C*H*W) is their operator on the flattened increment, in whatever units that has;
    ``innovation`` is y - H(x_b) and ``error`` its standard deviation sigma_o, both (P,) in the
    observations' units. ``variable`` (P,) holds canonical names; ``latitude`` and ``longitude`` are
    (P,) [degrees].
    """

    matrix: sparse.csr_matrix
    innovation: np.ndarray
    error: np.ndarray
    variable: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray

    @classmethod
    def none(cls, size: int) -> Observations:
        """No observation of an increment of ``size`` values."""
        nothing = np.zeros(0, np.float32)
        return cls(
            matrix=sparse.csr_matrix((0, size)),
            innovation=nothing,
            error=nothing,
            variable=np.zeros(0, object),
            latitude=nothing,
            longitude=nothing,
        )

    def chosen(self, rows: np.ndarray) -> Observations:
        """Some ``rows`` of them, by number or by a mask."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self)}
        return replace(self, **arrays)

    def in_units(self, unit: np.ndarray) -> Observations:
        """The same of increments divided by ``unit`` (C, 1, 1)."""
        return replace(self, matrix=in_units(self.matrix, unit))


def in_units(matrix: sparse.csr_matrix, unit: np.ndarray) -> sparse.csr_matrix:
    """The operator ``matrix`` (P, C*H*W) on increments in units of ``unit`` (C, 1, 1), float32."""
    points = matrix.shape[1] // unit.size
    return (matrix @ sparse.diags_array(np.repeat(unit.ravel(), points))).tocsr().astype(np.float32)


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

    @property
    def seen(self) -> tuple[torch.Tensor, ...]:
        """What the encoder sees of it, in the order of its arguments."""
        return self.increment, self.spread, self.residual, self.information


def observe(ensemble: Ensemble, observations: Observations) -> Observed:
    """What the solver needs of P observations, in the order it works in."""
    like, where = ensemble.members, ensemble.localisation
    order = where.order(observations.latitude, observations.longitude)
    matrix, error = observations.matrix[order], observations.error[order]
    scaled = (sparse.diags_array((1.0 / error).astype(matrix.dtype)) @ matrix).tocsr()
    members = np.ascontiguousarray(ensemble.observed(scaled).T)
    log_pressure = None
    if where.radius_log_p is not None and where.log_pressure is not None:
        log_pressure = _log_pressure(matrix, where.log_pressure)
    return Observed(
        torch.as_tensor(members).to(like),
        torch.as_tensor(observations.innovation[order] / error).to(like),
        observations.latitude[order],
        observations.longitude[order],
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
    ensemble: Ensemble, observations: Observations, draws: int = 0, seed: int = 0
) -> Virtual:
    """Stage 1 for P ``observations`` of the normalised increment, with ``draws`` perturbations from
    the posterior with ``seed``.

    The residual field is g / (1 + i) with g = H' R^-1 (y - H x_a) and i = diag(H' R^-1 H): a scalar
    analysis of the remaining innovation at each point, whatever the operator.
    """
    like, error = ensemble.members, observations.error
    shape = like.shape[1:]
    observed = observe(ensemble, observations)
    stage1 = solve_in_parts(ensemble, observed, Draws.random(observed, draws, seed))
    scaled = sparse.diags_array(1.0 / error) @ observations.matrix
    left = observations.innovation / error - scaled @ stage1.increment.cpu().numpy().ravel()
    information = np.asarray(scaled.multiply(scaled).sum(axis=0)).reshape(shape)
    residual = (scaled.T @ left).reshape(shape) / (1 + information)

    def as_field(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32)).to(like)

    return Virtual(
        increment=stage1.increment,
        spread=stage1.spread,
        prior_spread=stage1.prior_spread,
        residual=as_field(residual),
        information=as_field(information / (1 + information)),
        perturbations=stage1.perturbations,
    )

r"""The ensemble filter: an analysis whose background is the mean of an ensemble, and the analysed
ensemble.

In each column of weights, with anomalies X (scaled so that B = X X^T) and the notation of
:mod:`local_ensemble`,

.. math:: \delta x = X (I + Y^T \rho Y)^{-1} Y^T \rho d, \qquad X_a = X (I + Y^T \rho Y)^{-1/2}

with the symmetric square root (LETKF, Hunt et al. 2007), which keeps the sum of the anomalies zero;
the weights of both are interpolated to all points (Yang et al. 2009). In the hybrid, B is w times
that of the ensemble plus 1 - w times that of static members: the columns of both, scaled by the
roots, are one larger ensemble (Hamill and Snyder 2000; Lorenc 2003). Mean and spread then come from
both, while the members are those the ensemble alone transforms into, recentred on that mean.

Shapes: N members, C channels, H x W grid points, P observations, M columns. Nothing here reads
files or depends on a forecast model: a cycle is ``mean = x.mean(0)``, ``filter_members`` of
``Ensemble((x - mean) / sqrt(N - 1), where)``, and ``mean + increment + sqrt(N - 1) * anomalies``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from phyda_cli.analysis.localisation import Draws, Layer, Localisation, Observed
from phyda_cli.analysis.reconstruction import Ensemble, Observations, observe, solve_in_parts
from phyda_cli.analysis.solver import combine, normal_equations, of_channels
from phyda_cli.parallel.ranks import in_parts

__all__ = [
    "Filtered",
    "ensemble_transform",
    "filter_members",
    "hybrid",
    "relax_to_prior_spread",
    "transform",
]


@dataclass(frozen=True)
class Filtered:
    """``increment`` of the mean and analysis ``spread`` (C, H, W); ``anomalies`` (N, C, H, W),
    scaled as the ensemble's were."""

    increment: torch.Tensor
    spread: torch.Tensor
    anomalies: torch.Tensor


def hybrid(ensemble: torch.Tensor, static: torch.Tensor, weight: float) -> torch.Tensor:
    """Members (N + N_s, C, H, W) of B = weight * B_ensemble + (1 - weight) * B_static, without
    those of no weight."""
    parts = [
        members * share**0.5
        for members, share in ((ensemble, weight), (static, 1.0 - weight))
        if share > 0
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def filter_members(
    ensemble: Ensemble,
    observations: Observations,
    rtps: float = 0.0,
    prior: torch.Tensor | None = None,
    mixed: Ensemble | None = None,
) -> Filtered:
    """Analyse P ``observations`` of the mean of an ensemble.

    Args:
        ensemble: its anomalies over sqrt(N - 1), inflated as wanted.
        observations: of the normalised increment.
        rtps: see :func:`relax_to_prior_spread`.
        prior: the anomalies whose spread that is, before any inflation; the ensemble's own by
            default.
        mixed: the members that mean and spread come from, see :func:`hybrid`; the ensemble's by
            default.
    """
    where = ensemble.localisation
    observed = observe(ensemble, observations)
    double = replace(
        observed, members=observed.members.double(), innovation=observed.innovation.double()
    )
    members = ensemble.members

    def band(rows: slice) -> torch.Tensor:
        increment, anomalies = transform(members, double, where, rows)
        return torch.cat([increment[None], anomalies])

    whole = in_parts(members.shape[2], band, members, dim=2)
    increment, anomalies = whole[0], whole[1:]
    anomalies = relax_to_prior_spread(anomalies, ensemble.members if prior is None else prior, rtps)
    if mixed is None:
        return Filtered(increment, anomalies.square().sum(dim=0).sqrt(), anomalies)
    linear = solve_in_parts(mixed, observe(mixed, observations))
    return Filtered(linear.increment, linear.spread, anomalies)


def relax_to_prior_spread(
    anomalies: torch.Tensor, prior: torch.Tensor, factor: float
) -> torch.Tensor:
    """Analysis anomalies (N, C, H, W) whose spread is (1 - factor) times their own plus factor
    times that of ``prior``.

    RTPS (Whitaker and Hamill 2012, Mon. Wea. Rev. 140, 3078, eq. 2).
    """
    own, before = (a.square().sum(dim=0).sqrt() for a in (anomalies, prior))
    ratio = torch.where(own > 0, before / own, 1.0)
    return anomalies * (1.0 + factor * (ratio - 1.0))


def transform(
    members: torch.Tensor, observed: Observed, where: Localisation, rows: slice | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Increment of the mean (C, H, W) and analysis anomalies (N, C, H, W) for anomalies ``members``
    (N, C, H, W), B = X X^T; everywhere or in some ``rows`` of the grid.

    The algebra runs in the dtype of ``observed``; the results have that of ``members``.
    """
    rows = rows or slice(0, members.shape[2])
    where, members = where.for_rows(rows), members[:, :, rows]
    increment, anomalies = torch.zeros_like(members[0]), members.clone()
    if observed.innovation.numel() == 0:
        return increment, anomalies
    for layer in where.layers(observed, Draws.none(observed), members.shape[1]):
        own = of_channels(members, layer.channels)
        mean, roots = _weights(layer)
        increment[layer.channels] = combine(own, mean[:, :, None], where)[0]
        anomalies[:, layer.channels] = combine(own, roots, where)
    return increment, anomalies


def ensemble_transform(gram: torch.Tensor, pull: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Weights of the mean (M, N) and the transform (M, N, N), float64, of M columns with the Gram
    matrices ``gram`` G = Y^T rho Y (M, N, N) and the pulls ``pull`` b = Y^T rho d (M, N).

    Hunt et al. 2007, eqs. 21 and 24, with the symmetric root:

    .. math:: w = (I + G)^{-1} b, \qquad T = (I + G)^{-1/2}

    It is the root closest to the identity; members that sum to zero still do afterwards.
    """
    values, vectors = torch.linalg.eigh(gram.double())
    shrink = 1 / (1 + values.clamp(min=0.0))[:, None, :]
    weights = (vectors * shrink) @ (vectors.mT @ pull.double()[:, :, None])
    return weights[:, :, 0], (vectors * shrink.sqrt()) @ vectors.mT


def _weights(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the mean (M, N) and the symmetric square root (I + Y rho Y^T)^(-1/2) (M, N, N), Y
    as (N, P), of every column.

    With fewer observations than members P x P matrices are decomposed: for Z = Y rho^(1/2) and Z^T
    Z = U e U^T, (I + Z Z^T)^(-1/2) = I - Z U diag(1 / (s (s + 1))) U^T Z^T with s = sqrt(1 + e).
    """
    n = layer.members.shape[0]
    if layer.innovation.numel() > n:
        gram, right = normal_equations(layer)
        return ensemble_transform(gram, right[:, :, 0])
    root = layer.rho[:, layer.box].sqrt()
    z = layer.members * root[:, None, :]
    e, u = torch.linalg.eigh(z.mT @ z)
    s = (1 + e.clamp(min=0.0)).sqrt()
    zu = z @ u
    d = (root * layer.innovation)[:, :, None]
    mean = (zu @ ((u.mT @ d) / s.square()[:, :, None]))[:, :, 0]
    identity = torch.eye(n, dtype=z.dtype, device=z.device)
    return mean, identity - (zu / (s * (s + 1))[:, None, :]) @ zu.mT

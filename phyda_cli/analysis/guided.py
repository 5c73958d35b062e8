"""Observations that guide the sampler: rows of the operator on the model grid, and a user's own
functions of the state.

A user's operator needs no linearisation: any differentiable torch function of the physical state
will do::

    spec = checkpoint.state
    u, v = spec.channels.index("u850"), spec.channels.index("v850")

    def speed(state: Tensor) -> Tensor:  # (B, C, H, W) → (B, P)
        return torch.hypot(state[:, u, rows, columns], state[:, v, rows, columns])

    extra = [UserObservations(speed, value, error)]
    analysis = analyse(pose(background, table, checkpoint, settings), extra=extra)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.errors import UsageError
from phyda_cli.model.denoiser import Denoises
from phyda_cli.model.encoder import Posterior
from phyda_cli.model.guidance import Misfit, dps, mmps
from phyda_cli.settings.analysis import GuidanceSettings

__all__ = ["Guidance", "Guide", "UserObservations", "guide", "row_misfit", "user_misfit"]

Guide = Callable[[Denoises, Posterior], Denoises]


@dataclass(frozen=True, eq=False)
class UserObservations:
    """``observe`` maps states (B, C, H, W), on the model grid in the channels' order and physical
    units, to (B, P); ``value`` and ``error`` (P,) are what was observed and its standard deviation,
    in the units of ``observe``."""

    observe: Callable[[Tensor], Tensor]
    value: np.ndarray
    error: np.ndarray


def row_misfit(
    matrix: sparse.csr_matrix, innovation: np.ndarray, error: np.ndarray, device: torch.device
) -> Misfit:
    """(H d - innovation) / error of normalised increments d (B, C, H, W) for the rows of ``matrix``
    (P, C*H*W)."""
    scaled = (sparse.diags_array(1.0 / error) @ matrix).tocoo()
    index = torch.from_numpy(np.stack([scaled.row, scaled.col]).astype(np.int64))
    rows = torch.sparse_coo_tensor(
        index, torch.from_numpy(scaled.data).float(), scaled.shape, check_invariants=True
    )
    rows, target = (
        rows.coalesce().to(device),
        torch.from_numpy(innovation / error).float().to(device),
    )
    return lambda d: torch.sparse.mm(rows, d.flatten(1).T).T - target


def user_misfit(observations: UserObservations, state: Tensor, unit: Tensor) -> Misfit:
    """(observe(x) - value) / error of normalised increments, x = ``state`` + ``unit`` d (both
    broadcast to (C, H, W)).

    Raises UsageError when ``observe`` does not return a value for each observation or loses the
    gradient.
    """
    value, error = (
        torch.as_tensor(np.asarray(a, np.float32)).to(state)
        for a in (observations.value, observations.error)
    )

    def misfit(d: Tensor) -> Tensor:
        found = observations.observe(state + unit * d)
        if found.shape != (d.shape[0], *value.shape):
            raise UsageError(
                f"the operator returns {tuple(found.shape)}, expected "
                f"{(d.shape[0], *value.shape)}: one row a state"
            )
        if d.requires_grad and not found.requires_grad:
            raise UsageError(
                "the operator is not differentiable: its result has no gradient",
                hint="compute it with torch, not numpy",
            )
        return (found - value) / error

    return misfit


def guide(settings: GuidanceSettings, misfits: Sequence[Misfit]) -> Guide:
    """What turns the denoiser of the residual r, d = mean + std r, into one that knows the
    observations of ``misfits``."""

    def guided(denoise: Denoises, posterior: Posterior) -> Denoises:
        def misfit(r: Tensor) -> Tensor:
            d = posterior.mean + posterior.std * r
            return torch.cat([m(d) for m in misfits], dim=1)

        if settings.rule == "dps":
            return dps(denoise, misfit, settings.zeta)
        return mmps(denoise, misfit, settings.iterations, settings.tolerance)

    return guided


@dataclass(frozen=True, eq=False)
class Guidance:
    """Observations that enter in the sampler: all ``rows``, which stage 1 then is not shown, and
    ``extra`` ones with the caller's own operators."""

    settings: GuidanceSettings
    rows: bool = False
    extra: Sequence[UserObservations] = ()

    def guide(self, prior: Prior, observations: Observations) -> Guide:
        """The guide of all of them; ``prior`` and ``observations`` in the same units."""
        device = prior.ensemble.members.device
        misfits = []
        if self.rows:
            misfits.append(
                row_misfit(observations.matrix, observations.innovation, observations.error, device)
            )
        state, unit = (torch.from_numpy(a).to(device) for a in (prior.state, prior.unit))
        misfits += [user_misfit(each, state, unit) for each in self.extra]
        return guide(self.settings, misfits)

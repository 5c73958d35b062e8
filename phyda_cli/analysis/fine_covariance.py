r"""The covariance of the background's errors that are too small for the model grid.

Between two points at the horizontal distance r [km], the difference in elevation dz [m] and in the
fraction of land dl,

.. math:: C = \Big(v_1 e^{-r/L_1 - (dz/Z_1)^2/2 - c|dl|} + v_2 e^{-r/L_2 - (dz/Z_2)^2/2}\Big)
          e^{-(d\ln p/D)^2/2}\; \psi(r/R)

The terms are those of optimal interpolation at weather services: MESCAN (Soci et al. 2016, Tellus A
68, 29879), CANARI, gridpp. Exponentials are what observations show; of two ranges, so that dense
networks say something of a valley and lone stations of a region. Every factor is a correlation, so
their product is. The last is Wendland's compact one, which ends all influence at the radius R: four
times the longer length, within a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.earth import unit_vectors

__all__ = ["Points", "Separation", "SmallScale", "covariance", "reach", "separation", "taper"]

REACH = 4.0  # lengths, where a correlation has fallen to 2 %
DEPTH = 0.2  # the length D in log pressure


@dataclass(frozen=True, eq=False)
class Points:
    """Where values are, arrays of any shape (...): ``position`` (..., 3) [km], ``elevation`` [m],
    ``land`` fraction and ``log_pressure`` [ln Pa], zero at the surface."""

    position: np.ndarray
    elevation: np.ndarray
    land: np.ndarray
    log_pressure: np.ndarray

    @classmethod
    def at(
        cls,
        latitude: np.ndarray,
        longitude: np.ndarray,
        elevation: np.ndarray | None = None,
        land: np.ndarray | None = None,
        log_pressure: np.ndarray | None = None,
    ) -> Points:
        """Points at ``latitude`` and ``longitude`` (n,) [degrees]; what is not given is zero
        everywhere and has no say."""
        nothing = np.zeros(np.shape(latitude))
        position = EARTH_RADIUS / 1e3 * unit_vectors(np.asarray(latitude), np.asarray(longitude))
        rest = (elevation, land, log_pressure)
        return cls(position, *(nothing if a is None else np.nan_to_num(a) for a in rest))

    def take(self, index: np.ndarray) -> Points:
        """The points ``index``."""
        return Points(
            self.position[index], self.elevation[index], self.land[index], self.log_pressure[index]
        )

    def seen_from(self, middle: np.ndarray, index: np.ndarray) -> Points:
        """The points ``index`` (T, n) in single precision, with positions relative to the
        ``middle`` (T, 3) of each row, so that distances are good to a metre."""
        some = self.take(index)
        position = (some.position - middle[:, None]).astype(np.float32)
        rest = (some.elevation, some.land, some.log_pressure)
        return Points(position, *(a.astype(np.float32) for a in rest))


@dataclass(frozen=True, eq=False)
class Separation:
    """Between pairs of points (..., n, m): ``distance`` [km], ``height`` [m], ``land`` fraction
    and ``depth`` in log pressure, all without sign."""

    distance: Tensor
    height: Tensor
    land: Tensor
    depth: Tensor


@dataclass(frozen=True)
class SmallScale:
    """The parameters of the covariance; variances and the observations' own ``noise`` are in units
    of the scaled residuals. Fields are floats, or scalar tensors while they are estimated."""

    near_variance: float | Tensor
    far_variance: float | Tensor
    near_km: float | Tensor
    far_km: float | Tensor
    near_m: float | Tensor
    far_m: float | Tensor
    land: float | Tensor
    noise: float | Tensor

    @property
    def variance(self) -> float | Tensor:
        """Of the error at a point."""
        return self.near_variance + self.far_variance


def separation(a: Points, b: Points) -> Separation:
    """Between points ``a`` (..., n) and ``b`` (..., m). Distances are those through the Earth,
    which keep the covariance positive definite."""

    def between(x: np.ndarray, y: np.ndarray) -> Tensor:
        return (torch.from_numpy(x)[..., :, None] - torch.from_numpy(y)[..., None, :]).abs()

    exact = "donot_use_mm_for_euclid_dist"
    position = torch.from_numpy(a.position), torch.from_numpy(b.position)
    return Separation(
        torch.cdist(*position, compute_mode=exact),
        between(a.elevation, b.elevation),
        between(a.land, b.land),
        between(a.log_pressure, b.log_pressure),
    )


def taper(share: Tensor) -> Tensor:
    """Wendland's compact correlation at the ``share`` (...) of its radius."""
    q = share.clamp(max=1.0)
    return (1 - q).square().square() * (4 * q + 1)


def reach(small: SmallScale, most: float) -> Tensor:
    """Where all influence ends [km]: at :data:`REACH` of the longer length, not beyond
    ``most``."""
    near, far = (torch.as_tensor(v) for v in (small.near_km, small.far_km))
    return (REACH * torch.maximum(near, far)).clamp(max=most)


def covariance(small: SmallScale, apart: Separation, radius: float) -> Tensor:
    """C (..., n, m) at the separations ``apart``; zero beyond :func:`reach`, at most ``radius``
    [km]."""
    r, squared = apart.distance, apart.height.square()
    near = small.near_variance * torch.exp(
        r * (-1 / small.near_km) - squared * (0.5 / small.near_m**2) - apart.land * small.land
    )
    far = small.far_variance * torch.exp(r * (-1 / small.far_km) - squared * (0.5 / small.far_m**2))
    ending = taper(r / reach(small, radius))
    if bool((apart.depth > 0).any()):
        ending = ending * torch.exp(-0.5 * (apart.depth / DEPTH) ** 2)
    return (near + far) * ending

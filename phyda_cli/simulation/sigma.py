"""From sigma levels to pressure levels and mean sea level, as post-processing of spectral models
does, and increments back.

Temperature is linear in log pressure between levels; geopotential carries the quadratic term that
makes it hydrostatic with that temperature. Below the lowest level temperature follows a constant
lapse rate (Trenberth et al. 1993, NCAR/TN-396) and wind and humidity stay constant.
"""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import GRAVITY, LAPSE_RATE, R_D

__all__ = ["increments_to_sigma", "mean_sea_level_pressure", "to_pressure_levels"]

EXPONENT = R_D * LAPSE_RATE / GRAVITY


def to_pressure_levels(
    columns: dict[str, np.ndarray],
    sigma: np.ndarray,
    surface_pressure: np.ndarray,
    levels: np.ndarray,
) -> dict[str, np.ndarray]:
    """Interpolate ``u v t q z`` (K, ...) from ``sigma`` (K,), increasing, to ``levels`` (L,) in Pa;
    each (L, ...).

    ``surface_pressure`` (...) in Pa. Raises ValueError for a level above the highest sigma level
    anywhere.
    """
    x_k = np.log(sigma).reshape(-1, *[1] * surface_pressure.ndim) + np.log(
        surface_pressure
    )  # (K, ...)
    out: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for pressure in levels:
        x = np.log(pressure)
        if np.any(x < x_k[0]):
            raise ValueError(f"{pressure / 100:g} hPa lies above the model's highest level")
        k, f, below = _bracket(x_k, x)
        thickness = np.squeeze(np.take_along_axis(x_k, k + 1, 0) - np.take_along_axis(x_k, k, 0), 0)
        pair = {n: [np.take_along_axis(c, k + i, 0)[0] for i in (0, 1)] for n, c in columns.items()}
        for name, (upper, lower) in pair.items():
            out[name].append((1 - f) * upper + f * lower)
        t_upper, t_lower = pair["t"]
        curvature = 0.5 * R_D * (t_lower - t_upper) * thickness * f * (1 - f)
        warming = np.exp(EXPONENT * below)
        out["t"][-1] = out["t"][-1] * warming
        out["z"][-1] = out["z"][-1] + curvature - GRAVITY / LAPSE_RATE * t_lower * (warming - 1)
    return {name: np.stack(values).astype(np.float32) for name, values in out.items()}


def mean_sea_level_pressure(
    surface_pressure: np.ndarray, temperature: np.ndarray, sigma: float, height: np.ndarray
) -> np.ndarray:
    """Pressure [Pa] reduced to mean sea level through a constant-lapse column between it and
    ``height`` [m].

    ``temperature`` [K] is that of the lowest level, at ``sigma`` times the surface pressure. Above
    sea level, very cold and very warm ground is tempered as in the IFS post-processing (FULL-POS,
    PPPMSL), or plateaus would get absurd values. Below it the column is air, and stays as it is.
    """
    ground = temperature * sigma**-EXPONENT
    below_ground = height > 0
    ground = np.where(below_ground & (ground < 255.0), 0.5 * (255.0 + ground), ground)
    lapse = np.where(
        below_ground & (ground + LAPSE_RATE * height > 290.5),
        np.maximum(290.5 - ground, 0) / np.maximum(height, 1.0),
        LAPSE_RATE,
    )
    ground = np.where(below_ground & (ground > 290.5), 0.5 * (290.5 + ground), ground)
    x = lapse * height / ground
    exact = np.log1p(x) / np.where(np.abs(x) < 1e-9, 1.0, x)
    return surface_pressure * np.exp(
        GRAVITY * height / (R_D * ground) * np.where(np.abs(x) < 1e-9, 1.0, exact)
    )


def increments_to_sigma(
    increment: np.ndarray,
    levels: np.ndarray,
    sigma: np.ndarray,
    surface_pressure: np.ndarray,
    trust: float = 0.1,
) -> np.ndarray:
    """Increments (L, ...) at ``levels`` (L,) increasing [Pa] at the pressures of the model's levels
    ``sigma`` (K,): (K, ...).

    The increments g + M' (M M' + ``trust`` I)^-1 (increment - M g): the smallest change of the
    interpolated g such that the model's own post-processing M returns ``increment``. Interpolation
    alone would smooth twice, which disturbs the balance of mass and wind. ``surface_pressure``
    (...) [Pa] is the background's.
    """
    guess = _interpolated(increment, levels, sigma, surface_pressure)
    matrix = np.moveaxis(
        _post_processing(levels, sigma, surface_pressure), (0, 1), (-2, -1)
    )  # (..., L, K)
    left = np.moveaxis(increment, 0, -1) - (matrix @ np.moveaxis(guess, 0, -1)[..., None])[..., 0]
    gram = matrix @ matrix.swapaxes(-1, -2) + trust * np.eye(levels.size)
    change = matrix.swapaxes(-1, -2) @ np.linalg.solve(gram, left[..., None])
    return guess + np.moveaxis(change[..., 0], -1, 0)


def _interpolated(
    increment: np.ndarray, levels: np.ndarray, sigma: np.ndarray, surface_pressure: np.ndarray
) -> np.ndarray:
    """Linear in log pressure, constant beyond the outermost levels."""
    x = np.log(sigma).reshape(-1, *[1] * surface_pressure.ndim) + np.log(
        surface_pressure
    )  # (K, ...)
    knots = np.log(levels)
    out = np.zeros(x.shape, np.float64)
    for index, knot in enumerate(knots):
        hat = np.ones_like(x)
        if index > 0:
            hat = np.minimum(hat, ((x - knots[index - 1]) / (knot - knots[index - 1])).clip(0))
        if index < knots.size - 1:
            hat = np.minimum(hat, ((knots[index + 1] - x) / (knots[index + 1] - knot)).clip(0))
        out += hat * increment[index]
    return out


def _post_processing(
    levels: np.ndarray, sigma: np.ndarray, surface_pressure: np.ndarray
) -> np.ndarray:
    """Weights (L, K, ...) of :func:`to_pressure_levels` for wind and humidity."""
    x_k = np.log(sigma).reshape(-1, *[1] * surface_pressure.ndim) + np.log(surface_pressure)
    weights = np.zeros((levels.size, *x_k.shape))
    for row, pressure in zip(weights, levels, strict=True):
        k, f, _ = _bracket(x_k, np.log(pressure))
        np.put_along_axis(row, k, (1 - f)[None], 0)
        np.put_along_axis(row, k + 1, f[None], 0)
    return weights


def _bracket(x_k: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For log pressure ``x`` between ``x_k`` (K, ...): upper index (1, ...), fraction towards the
    lower level (...), at most one, and the log-pressure distance under the lowest level (...)."""
    k = np.clip((x_k <= x).sum(axis=0) - 1, 0, x_k.shape[0] - 2)[None]
    x1, x2 = (np.take_along_axis(x_k, k + i, 0)[0] for i in (0, 1))
    return k, np.minimum((x - x1) / (x2 - x1), 1.0), np.maximum(x - x2, 0.0)

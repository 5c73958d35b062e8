"""From sigma levels to pressure levels and mean sea level, as post-processing of spectral models does.

Temperature is linear in log pressure between levels; geopotential carries the quadratic term that makes it hydrostatic
with that temperature. Below the lowest level temperature follows a constant lapse rate (Trenberth et al. 1993,
NCAR/TN-396) and wind and humidity stay constant.
"""

from __future__ import annotations

import numpy as np

from phyda_cli.names import GRAVITY

__all__ = ["mean_sea_level_pressure", "to_pressure_levels"]

R_DRY = 287.05  # J kg-1 K-1
LAPSE = 6.5e-3  # K m-1
EXPONENT = R_DRY * LAPSE / GRAVITY


def to_pressure_levels(
    columns: dict[str, np.ndarray], sigma: np.ndarray, surface_pressure: np.ndarray, levels: np.ndarray
) -> dict[str, np.ndarray]:
    """Interpolate ``u v t q z`` (K, ...) from ``sigma`` (K,), increasing, to ``levels`` (L,) in Pa; each (L, ...).

    ``surface_pressure`` (...) in Pa. Raises ValueError for a level above the highest sigma level anywhere.
    """
    x_k = np.log(sigma).reshape(-1, *[1] * surface_pressure.ndim) + np.log(surface_pressure)  # (K, ...)
    out: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for pressure in levels:
        x = np.log(pressure)
        if np.any(x < x_k[0]):
            raise ValueError(f"{pressure / 100:g} hPa lies above the model's highest level")
        k = np.clip((x_k <= x).sum(axis=0) - 1, 0, sigma.size - 2)[None]
        x1, x2 = (np.take_along_axis(x_k, k + i, 0)[0] for i in (0, 1))
        f = np.minimum((x - x1) / (x2 - x1), 1.0)
        below = np.maximum(x - x2, 0.0)  # log-pressure distance under the lowest level
        pair = {n: [np.take_along_axis(c, k + i, 0)[0] for i in (0, 1)] for n, c in columns.items()}
        for name, (upper, lower) in pair.items():
            out[name].append((1 - f) * upper + f * lower)
        t_upper, t_lower = pair["t"]
        curvature = 0.5 * R_DRY * (t_lower - t_upper) * (x2 - x1) * f * (1 - f)
        warming = np.exp(EXPONENT * below)
        out["t"][-1] = out["t"][-1] * warming
        out["z"][-1] = out["z"][-1] + curvature - GRAVITY / LAPSE * t_lower * (warming - 1)
    return {name: np.stack(values).astype(np.float32) for name, values in out.items()}


def mean_sea_level_pressure(surface_pressure: np.ndarray, temperature: np.ndarray, sigma: float, height: np.ndarray) -> np.ndarray:
    """Pressure [Pa] reduced to mean sea level through a constant-lapse column below ``height`` [m].

    ``temperature`` [K] is that of the lowest level, at ``sigma`` times the surface pressure. Very cold and very warm
    ground is tempered as in the IFS post-processing (FULL-POS, PPPMSL), or plateaus would get absurd values.
    """
    ground = temperature * sigma**-EXPONENT
    ground = np.where(ground < 255.0, 0.5 * (255.0 + ground), ground)
    lapse = np.where(ground + LAPSE * height > 290.5, np.maximum(290.5 - ground, 0) / np.maximum(height, 1.0), LAPSE)
    ground = np.where(ground > 290.5, 0.5 * (290.5 + ground), ground)
    x = lapse * height / ground
    exact = np.log1p(x) / np.where(np.abs(x) < 1e-9, 1.0, x)
    return surface_pressure * np.exp(GRAVITY * height / (R_DRY * ground) * np.where(np.abs(x) < 1e-9, 1.0, exact))

"""What the residuals of a group have in common everywhere: the drift of universal kriging
(Matheron 1969), which the covariance of the small scales is not made for.

Winds at stations are weaker than a model's, by a share that differs between land and sea:
obstacles near an anemometer, and forecasts that are too strong. Scalars go with how far a station
is above the model's ground, beyond what the operator allows for. The coefficients come from the
stations at hand, by least squares in which neighbours count as one, with a prior around zero.
"""

from __future__ import annotations

import numpy as np

__all__ = ["drift", "height_predictor", "wind_predictors"]

_TOGETHER = 10.0  # stations of a neighbourhood, whose residuals say the same
_DEVIATION = 0.5  # of a coefficient in the prior, in standard deviations over those of predictors
_CUT = 3.5  # standard deviations, beyond which a residual counts no more
_HEIGHT = 500.0  # m


def wind_predictors(wind: np.ndarray, land: np.ndarray) -> np.ndarray:
    """The analysed ``wind`` (m, 2) over land and over sea: (m, 2, 2)."""
    return np.stack([wind * land[:, None], wind * (1 - land[:, None])], axis=2)


def height_predictor(above: np.ndarray) -> np.ndarray:
    """Stations ``above`` (m,) the model's ground [m]: (m, 1, 1)."""
    return np.asarray(np.clip(above / _HEIGHT, -2.0, 2.0))[:, None, None]


def drift(predictors: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Coefficients (K,) of ``predictors`` (m, V, K) for ``residual`` (m, V)."""
    x, y = predictors.reshape(-1, predictors.shape[2]), residual.ravel()
    deviation = float(np.median(np.abs(y))) / 0.6745
    y = np.clip(y, -_CUT * deviation, _CUT * deviation)
    size = (x**2).mean(axis=0)
    prior = _TOGETHER * size / _DEVIATION**2
    return np.asarray(np.linalg.solve(x.T @ x + np.diag(prior + 1e-12), x.T @ y))

r"""The buddy check: every innovation against what those of other stations around it predict.

With the background-error covariances C of the ensemble, tapered with distance, the neighbours'
innovations d predict

.. math:: \hat d_i = c_i^T (C + R)^{-1} d, \qquad s_i^2 = \sigma_{o,i}^2 + \sigma_{b,i}^2 - c_i^T (C
+ R)^{-1} c_i

(optimal interpolation without the observation itself: Lorenc 1981, Mon. Wea. Rev. 109, 701; the
spatial consistency test of Lussana et al. 2010, QJRMS 136, 1075). Stations that agree with each
other support each other against the background.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.earth import unit_vectors
from phyda_cli.observations.qc.boxes import level_numbers
from phyda_cli.observations.qc.codes import set_codes
from phyda_cli.observations.table import QC

__all__ = ["buddy_check", "predict", "soar"]

NEIGHBOURS = 12
REACH = 1500.0  # km
TAPER = 1000.0  # km
EXPLAINED = 0.3  # share of the background's variance that neighbours must explain to have a say
_LEVEL_DEPTH = 0.2  # in log pressure
_ROUNDS = 30
_CHUNK = 2000


def soar(distance: np.ndarray, length: float) -> np.ndarray:
    """Second-order autoregressive correlation (1 + r/L) exp(-r/L) at ``distance`` [units of
    ``length``]."""
    scaled = distance / length
    return np.asarray((1 + scaled) * np.exp(-scaled))


def buddy_check(
    table: pd.DataFrame,
    innovation: np.ndarray,
    anomalies: np.ndarray,
    factor: float = 5.0,
    scale: np.ndarray | None = None,
) -> pd.DataFrame:
    """QC 22 where |d - d^| > factor * s, for used rows with enough neighbours of the same variable
    and level.

    ``innovation`` (P,) and the background-error ensemble at the observations, ``anomalies`` (P, N)
    whose squares sum to sigma_b^2, in the rows' units, but for the factors ``scale`` (P,).
    Neighbours are the 12 nearest other stations within 1500 km; passive rows are neither checked
    nor consulted. The worst of a neighbourhood goes first, and what it may have spoilt is judged
    again without it.
    """
    rows = np.flatnonzero((table["qc"] == QC.PASS).to_numpy() & np.isfinite(innovation))
    part = table.iloc[rows]
    level = level_numbers(part, _LEVEL_DEPTH)
    station = part.groupby(["station_id", "latitude", "longitude"], sort=False).ngroup().to_numpy()
    place = (
        EARTH_RADIUS
        / 1000
        * unit_vectors(part["latitude"].to_numpy(), part["longitude"].to_numpy())
    )
    bad = np.zeros(len(table), bool)
    for members in (
        pd.Series(np.arange(rows.size))
        .groupby([part["variable"].to_numpy(), level])
        .indices.values()
    ):
        r = rows[members]
        error = part["error"].to_numpy()[members]
        ours = anomalies[r] if scale is None else scale[r, None] * anomalies[r]
        bad[r] = _outliers(innovation[r], error, ours, place[members], station[members], factor)
    return set_codes(table, bad, QC.BUDDY)


def predict(
    d: np.ndarray,
    error: np.ndarray,
    anomalies: np.ndarray,
    place: np.ndarray,
    rows: np.ndarray,
    near: np.ndarray,
    valid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the neighbours ``near`` (m, K) of ``rows`` (m,), those that are ``valid`` (m, K),
    predict of the innovations ``d`` (n,).

    Returns, each (m,): the innovation, its standard deviation with the observation's own error, and
    the share of the background's variance that is explained. ``anomalies`` (n, N); ``place`` (n, 3)
    [km].
    """
    own, among = place[near] - place[rows, None], place[near][:, :, None] - place[near][:, None]
    members = np.where(valid[:, :, None], anomalies[near], 0.0)
    covariance = (members @ members.transpose(0, 2, 1)) * soar(
        np.linalg.norm(among, axis=-1), TAPER
    )
    diagonal = np.arange(near.shape[1])
    covariance[:, diagonal, diagonal] += np.where(valid, error[near] ** 2, 1.0)
    cross = np.einsum("mkn,mn->mk", members, anomalies[rows]) * soar(
        np.linalg.norm(own, axis=-1), TAPER
    )
    weights = np.linalg.solve(covariance, cross[:, :, None])[:, :, 0]
    explained = (weights * cross).sum(axis=1)
    predicted = (weights * np.where(valid, d[near], 0.0)).sum(axis=1)
    variance = np.square(anomalies[rows]).sum(axis=1)
    width = np.sqrt(np.maximum(variance - explained, 0.0) + error[rows] ** 2)
    return predicted, width, explained / np.maximum(variance, 1e-300)


def _outliers(
    d: np.ndarray,
    error: np.ndarray,
    anomalies: np.ndarray,
    place: np.ndarray,
    station: np.ndarray,
    factor: float,
) -> np.ndarray:
    """Which of the (n,) innovations of one variable and level disagree with their neighbours."""
    bad = np.zeros(d.size, bool)
    first = np.unique(station, return_index=True)[1]  # one row speaks for each station
    if first.size < 3:
        return bad
    distance, found = cKDTree(place[first]).query(
        place, k=min(NEIGHBOURS + 1, first.size), distance_upper_bound=REACH
    )
    reached = np.isfinite(distance)
    near = first[np.where(reached, found, 0)]
    other = reached & (station[near] != station[:, None])
    for _ in range(_ROUNDS):
        ratio = np.zeros(d.size)
        valid = other & ~bad[near]
        for rows in np.array_split(np.flatnonzero(~bad), -(-d.size // _CHUNK)):
            predicted, width, share = predict(
                d, error, anomalies, place, rows, near[rows], valid[rows]
            )
            ratio[rows] = np.where(share >= EXPLAINED, np.abs(d[rows] - predicted) / width, 0.0)
        suspects = np.where(ratio > factor, ratio, 0.0)
        worst = (suspects > 0) & (suspects >= np.where(valid, suspects[near], 0.0).max(axis=1))
        if not worst.any():
            break
        bad |= worst
    return bad

"""Simulated observations of a known truth."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.fields.state import StateSpec
from phyda_cli.simulation.observing_network import Network

__all__ = ["simulate"]


def simulate(
    spec: StateSpec, truth: np.ndarray, network: Network, rng: np.random.Generator
) -> Observations:
    """What ``network`` observes of ``truth`` (C, H, W), the background's error in units of s_b: of
    increments in physical units, with noise of the network's errors."""
    unit = np.broadcast_to(spec.column("background_std"), truth.shape).ravel()
    exact = (network.matrix @ sparse.diags_array(unit)).tocsr() @ truth.ravel()
    noise = network.error * rng.standard_normal(network.error.size).astype(np.float32)
    return Observations(
        matrix=network.matrix,
        innovation=exact + noise,
        error=network.error,
        variable=np.array([c.variable for c in spec.channel_list])[network.channel],
        latitude=network.latitude,
        longitude=network.longitude,
    )

"""An observation operator: wind speed at 850 hPa, which is not linear in the state.

    phyda assimilate --obs stations.csv --background fc.nc --operator wind_speed_850=speeds.csv

The file has the columns latitude, longitude, speed and error [m s-1].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from phyda_cli.analysis.guided import UserObservations
from phyda_cli.fields.state import StateSpec


def wind_speed_850(path: Path, spec: StateSpec, time: np.datetime64) -> UserObservations:
    """The speeds in ``path`` as observations at the nearest points of the model's grid."""
    table = pd.read_csv(path)
    latitude, longitude = (table[name].to_numpy(float) for name in ("latitude", "longitude"))
    rows = np.abs(spec.grid.latitude[:, None] - latitude).argmin(axis=0)
    away = np.abs((spec.grid.longitude[:, None] - longitude + 180) % 360 - 180)
    columns = away.argmin(axis=0)
    u, v = (spec.channels.index(name) for name in ("u850", "v850"))

    def observe(state: Tensor) -> Tensor:
        """(B, C, H, W) to (B, P); torch, for the sampler needs its derivative."""
        return torch.hypot(state[:, u, rows, columns], state[:, v, rows, columns])

    return UserObservations(observe, table["speed"].to_numpy(), table["error"].to_numpy())

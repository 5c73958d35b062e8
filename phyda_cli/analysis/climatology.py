"""An analysis without a forecast: the climate of the date as background, with its variance as that
of the background's errors.

Correlations are those of the static members, of forecast errors, which reach less far than the
climate's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from phyda_cli import cf
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.errors import UsageError
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.climate import Climate

__all__ = ["climate_background", "climate_of", "with_climate_errors"]


def climate_of(checkpoint: Checkpoint) -> Climate:
    """What the checkpoint knows of its climate. Raises UsageError where it knows nothing."""
    if checkpoint.climate is None:
        raise UsageError(
            f"the checkpoint {checkpoint.metadata.name} knows no climate of the date",
            hint="give a forecast as --background, or train the checkpoint anew",
        )
    return checkpoint.climate


def climate_background(checkpoint: Checkpoint, time: np.datetime64) -> xr.Dataset:
    """The climate at ``time`` as a forecast file of the model's grid and levels would hold it."""
    spec = checkpoint.state
    mean = climate_of(checkpoint).mean(time)
    levels = np.array(sorted({c.pressure for c in spec.channel_list if c.pressure is not None}))
    shape = (levels.size, *spec.grid.shape)
    data: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {}
    surface = ("latitude", "longitude")
    for channel, values in zip(spec.channel_list, mean, strict=True):
        name, attributes = channel.variable, cf.of_variable(channel.variable)
        if channel.pressure is None:
            data[name] = (surface, values, attributes)
            continue
        empty = (("plev", *surface), np.full(shape, np.nan, np.float32), attributes)
        stack = data.setdefault(name, empty)[1]
        stack[np.searchsorted(levels, channel.pressure)] = values
    data |= {k: (surface, v, cf.of_variable(k)) for k, v in checkpoint.statics.items()}
    coordinates = {
        "latitude": ("latitude", spec.grid.latitude, cf.LATITUDE),
        "longitude": ("longitude", spec.grid.longitude, cf.LONGITUDE),
        "plev": ("plev", levels, cf.PRESSURE),
        "time": np.asarray(time, "datetime64[ns]"),
    }
    return xr.Dataset(data, coordinates)


def with_climate_errors(prior: Prior, climate: Climate) -> Prior:
    """``prior`` with errors as large as the climate's deviation at every point."""
    members = prior.ensemble.members
    spread = members.square().sum(dim=0).sqrt().clamp(min=1e-6)
    wanted = members.new_tensor(climate.deviation / prior.unit)
    ensemble = Ensemble(members * (wanted / spread), prior.ensemble.localisation)
    return replace(prior, ensemble=ensemble)

"""The state a checkpoint works on: channels, grid, normalisation and static fields. Data, never a
constant in code."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from phyda_cli.fields.grid import Grid
from phyda_cli.names import VARIABLES, Channel, parse_channel

__all__ = ["DEFAULT_CHANNELS", "StateSpec", "equiangular"]

DEFAULT_LEVELS = (50, 100, 200, 300, 500, 700, 850, 925)
DEFAULT_CHANNELS = (
    *(f"{v}{p}" for v in "ztquv" for p in DEFAULT_LEVELS),
    "msl",
    "t2m",
    "u10",
    "v10",
)


def equiangular(n_lon: int, n_lat: int) -> Grid:
    """The global grid of cell centres without poles, latitude ascending (WeatherBench2's ``64x32``
    and its like)."""
    step = 180.0 / n_lat
    return Grid(-90 + step * (0.5 + np.arange(n_lat)), 360.0 / n_lon * np.arange(n_lon))


class StateSpec(BaseModel):
    """Channels and grid with their statistics; lists are in channel order."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    channels: tuple[str, ...] = Field(
        description="Channel names such as z500 or t2m; the number is a level in hPa."
    )
    latitude: tuple[float, ...] = Field(description="Latitudes of the grid [degrees].")
    longitude: tuple[float, ...] = Field(description="Longitudes of the grid [degrees].")
    mean: tuple[float, ...] = Field(description="Climatological mean of each channel [its units].")
    std: tuple[float, ...] = Field(
        description="Climatological standard deviation of each channel [its units]."
    )
    background_std: tuple[float, ...] = Field(
        description="Background-error standard deviation s_b of each channel [its units]."
    )

    @model_validator(mode="after")
    def _lengths_agree(self) -> StateSpec:
        for name in ("mean", "std", "background_std"):
            if len(getattr(self, name)) != len(self.channels):
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries for {len(self.channels)} "
                    "channels"
                )
        for name in ("std", "background_std"):
            if min(getattr(self, name), default=1.0) <= 0:
                raise ValueError(f"{name} is not positive in every channel")
        for key in self.channels:
            parse_channel(key)
        return self

    @cached_property
    def grid(self) -> Grid:
        """The model grid."""
        return Grid(np.array(self.latitude), np.array(self.longitude))

    @cached_property
    def channel_list(self) -> list[Channel]:
        """Parsed channels."""
        return [parse_channel(key) for key in self.channels]

    @property
    def n_channels(self) -> int:
        """Number of channels C."""
        return len(self.channels)

    @cached_property
    def is_vector(self) -> np.ndarray:
        """Which channels are wind components (C,)."""
        return np.array([VARIABLES[c.variable].vector for c in self.channel_list])

    def column(self, name: str) -> np.ndarray:
        """A statistic as (C, 1, 1) float32, to broadcast over a state."""
        return np.array(getattr(self, name), np.float32)[:, None, None]

"""Settings of the fine stage, which analyses on the user's own grid what the model grid cannot
hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phyda_cli.settings.base import Settings

__all__ = ["FineSettings"]


class FineSettings(Settings):
    """The fine stage of an analysis."""

    stage: Literal["auto", "off"] = Field(
        "auto",
        description="Analyse the surface variables on the grid of the background as well (auto).",
    )
    neighbours: int = Field(
        40, ge=2, le=200, description="Stations that each point of the grid is analysed with."
    )
    radius_km: float = Field(
        3000.0,
        gt=0,
        description="A station's influence ends at four times the estimated length of the errors, "
        "and not beyond this distance [km].",
    )
    min_stations: int = Field(
        40, ge=10, description="Fewest stations that the fine covariance is estimated from."
    )
    far_km: float = Field(
        500.0,
        gt=0,
        description="The report says how much of the area is farther from every used observation "
        "[km].",
    )

"""Settings of ``phyda verify``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from phyda_cli.settings.base import Settings

__all__ = ["StationThresholds", "VerificationSettings"]


class StationThresholds(Settings):
    """What makes a station suspicious. The numbers are phyda's own choice."""

    bias: float = Field(
        2.0, gt=0, description="Five-day mean of O-B, in expected standard deviations."
    )
    spread: float = Field(
        3.0, gt=0, description="Five-day standard deviation of O-B over the expected one."
    )
    rejected: float = Field(
        0.5, gt=0, le=1, description="Part of the reports that quality control rejects."
    )
    missing: float = Field(
        0.5, gt=0, le=1, description="Part of the expected reports that did not arrive."
    )
    fewest: int = Field(8, ge=3, description="Reports within five days that say anything.")
    height_m: float = Field(
        60.0, gt=0, description="Error in height [m] that a bias of pressure must explain."
    )
    twins_km: float = Field(
        1.0, gt=0, description="Two stations this near, with the same values, are one [km]."
    )


class VerificationSettings(Settings):
    """``phyda verify``."""

    command: ClassVar[str] = "verify"

    by: Literal["none", "hour", "day", "month", "station", "level", "type"] = Field(
        "none", description="Score apart by hour of day, day, month, station, layer or report type."
    )
    box: tuple[float, float, float, float] | None = Field(
        None, description="One more region: west, south, east, north [degrees]."
    )
    truth_is: Literal["unknown", "withheld", "same_origin"] = Field(
        "unknown",
        description="How independent the truth is of the analysis and its background.",
    )
    regrid: bool = Field(
        False, description="Interpolate where analysis and truth are on different grids."
    )
    history: int = Field(
        30, ge=2, description="Earlier analyses that today's is compared with in series."
    )
    seed: int = Field(0, ge=0, description="Seed of the bootstrap and of noise in ranks.")
    station: StationThresholds = Field(
        default_factory=StationThresholds, description="When a station is suspicious."
    )

    @model_validator(mode="after")
    def _box_is_one(self) -> VerificationSettings:
        if self.box is not None:
            west, south, east, north = self.box
            if not (west < east <= west + 360 and -90 <= south < north <= 90):
                raise ValueError(
                    f"the box {self.box} is none: west, south, east, north, east beyond west"
                )
        return self

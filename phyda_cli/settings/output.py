"""Settings of what is written of an analysis."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from phyda_cli.settings.base import Settings

__all__ = ["OutputSettings"]

Box = tuple[float, float, float, float]


class OutputSettings(Settings):
    """What is written of an analysis, and how."""

    format: Literal["auto", "netcdf", "grib", "zarr"] = Field(
        "auto",
        description="Format of the analysis: by the name of the file (auto), or whatever its name "
        "says. GRIB is written into the messages of a GRIB background.",
    )
    area: Box | None = Field(
        None,
        description="Write this area alone: north, west, south and east edges [degrees]; none "
        "writes all.",
    )
    levels: tuple[float, ...] | None = Field(
        None, description="Write these pressure levels alone [hPa]; none writes all.", min_length=1
    )

    @field_validator("area")
    @classmethod
    def _box(cls, value: Box | None) -> Box | None:
        if value is not None and not (
            -90 <= value[2] < value[0] <= 90 and all(-360 <= v <= 360 for v in (value[1], value[3]))
        ):
            text = ",".join(f"{v:g}" for v in value)
            raise ValueError(f"expected north,west,south,east in degrees, got {text}")
        return value

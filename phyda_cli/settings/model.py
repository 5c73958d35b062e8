"""Settings that a checkpoint carries: the solver, the sampler and the sizes of the networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from phyda_cli.settings.base import Settings

__all__ = ["CorrectionSettings", "NetworkSettings", "SamplerSettings", "SolverSettings"]


class SolverSettings(Settings):
    """Stage 1, the local ensemble-space analysis."""

    radius_km: float = Field(
        4000.0, gt=0, description="Distance at which an observation's influence ends [km]."
    )
    radius_log_p: float | None = Field(
        4.0,
        gt=0,
        description="Distance in log pressure at which an observation's influence ends; with none "
        "it reaches every level.",
    )
    column_stride: int = Field(
        2, ge=1, description="Solve weights at every n-th grid point and interpolate."
    )
    season_days: int | None = Field(
        None,
        ge=1,
        description="Use static members within this many days of the date in any year; none uses "
        "all.",
    )


class SamplerSettings(Settings):
    """Stage 3, the second-order sampler."""

    start: Literal["linear", "noise"] = Field(
        "linear",
        description="Start from draws of stage 1's posterior with a little noise (linear), or from "
        "noise alone.",
    )
    steps: int = Field(
        3,
        ge=2,
        description="Number of noise levels; each but the last takes two network evaluations.",
    )
    sigma_min: float = Field(
        0.1, gt=0, description="Lowest noise level, in residual standard deviations."
    )
    sigma_max: float = Field(
        0.3,
        gt=0,
        description="Highest noise level, in residual standard deviations; take 8 to start "
        "from noise.",
    )

    @model_validator(mode="after")
    def _levels_decrease(self) -> SamplerSettings:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}"
            )
        return self


class CorrectionSettings(Settings):
    """The weight of the learned correction as it is expected before the observations of a day."""

    expected: float = Field(
        0.65, ge=0, le=1, description="Expected weight of a group that ``groups`` does not name."
    )
    deviation: float = Field(0.3, gt=0, description="Standard deviation of that.")
    groups: dict[str, tuple[float, PositiveFloat]] = Field(
        default_factory=dict,
        description="Expected weight and its standard deviation by group of variables, from the "
        "validation cases of the training.",
    )


Width = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]


class NetworkSettings(Settings):
    """Sizes of the U-Nets: channels at each level, finest first, multiples of 8."""

    encoder: tuple[Width, ...] = Field(
        (48, 96, 192), min_length=1, max_length=6, description="Widths of the encoder."
    )
    denoiser: tuple[Width, ...] = Field(
        (32, 64, 128), min_length=1, max_length=6, description="Widths of the denoiser."
    )
    denoiser_kind: str = Field(
        "unet", description="The denoiser: unet, or the name of a plug-in (phyda.denoisers)."
    )
    spread: tuple[Width, ...] = Field(
        (32, 64, 96),
        max_length=6,
        description="Widths of the network that predicts the background's spread; empty for none.",
    )
    odd: bool = Field(
        True,
        description="Let the correction of the mean change sign with the innovations, as a cycle "
        "needs. False where a background's error can be known from the background alone, as with "
        "persistence.",
    )

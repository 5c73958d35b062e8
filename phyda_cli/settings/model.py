"""Settings that a checkpoint carries: the solver, the sampler and the sizes of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phyda_cli.settings.base import Settings

__all__ = ["NetworkSettings", "SamplerSettings", "SolverSettings"]


class SolverSettings(Settings):
    """Stage 1, the local ensemble-space analysis."""

    radius_km: float = Field(
        4000.0, gt=0, description="Distance at which an observation's influence ends [km]."
    )
    radius_log_p: float | None = Field(
        4.0,
        gt=0,
        description="Distance in log pressure at which an observation's influence ends; none, or "
        "a large one: it reaches every level.",
    )
    column_stride: int = Field(
        2, ge=1, description="Weights are solved at every so-many-th grid point and interpolated."
    )
    season_days: int | None = Field(
        None, ge=1, description="Use static members within so many days of the date; none: all."
    )
    scale_deviation: float = Field(
        0.5,
        gt=0,
        description="How far the scale of the background's error may be from the expected one "
        "(standard deviation of its logarithm): less "
        "where all backgrounds are of one kind, such as persistence.",
    )


class SamplerSettings(Settings):
    """Stage 3, the second-order sampler."""

    start: Literal["linear", "noise"] = Field(
        "linear",
        description="Start from draws of stage 1's posterior with a little noise added, or from "
        "nothing but noise.",
    )
    steps: int = Field(
        3, ge=2, description="Noise levels; each costs two network evaluations but the last."
    )
    sigma_min: float = Field(
        0.1, gt=0, description="Lowest noise level, in residual standard deviations."
    )
    sigma_max: float = Field(
        0.3,
        gt=0,
        description="Highest noise level, in residual standard deviations; 8 for a start "
        "from noise.",
    )


class NetworkSettings(Settings):
    """Sizes of the U-Nets: channels at each level, finest first, multiples of 8."""

    encoder: tuple[int, ...] = Field((48, 96, 192), description="Widths of the encoder.")
    denoiser: tuple[int, ...] = Field((32, 64, 128), description="Widths of the denoiser.")
    spread: tuple[int, ...] = Field(
        (32, 64, 96),
        description="Widths of the network of the background spread; empty: there is none.",
    )
    odd: bool = Field(
        True,
        description="The mean's correction turns its sign with the innovations: what a cycle "
        "needs. False where backgrounds err in a way "
        "that can be known from them alone, such as persistence.",
    )
    linear: tuple[str, ...] = Field(
        (),
        description="Channels whose mean stays that of stage 1, such as those at a model's top "
        "that a correction would let drift.",
    )

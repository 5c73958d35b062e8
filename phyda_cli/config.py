"""Settings: frozen, strict, each field described. Flags, environment and TOML files end up here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phyda_cli.errors import InputError, UsageError

__all__ = [
    "AnalysisSettings",
    "EnsembleSettings",
    "NetworkSettings",
    "QualityControlSettings",
    "SamplerSettings",
    "SolverSettings",
    "TrainingSettings",
    "load_settings",
]


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SolverSettings(Settings):
    """Stage 1, the local ensemble-space analysis."""

    radius_km: float = Field(4000.0, gt=0, description="Distance at which an observation's influence ends [km].")
    radius_log_p: float | None = Field(
        4.0, gt=0, description="Distance in log pressure at which an observation's influence ends; none: it reaches every level."
    )
    column_stride: int = Field(2, ge=1, description="Weights are solved at every so-many-th grid point and interpolated.")
    season_days: int | None = Field(None, ge=1, description="Use static members within so many days of the date; none: all.")


class SamplerSettings(Settings):
    """Stage 3, the second-order sampler."""

    steps: int = Field(8, ge=2, description="Noise levels; each costs two network evaluations but the last.")
    sigma_min: float = Field(0.15, gt=0, description="Lowest noise level, in residual standard deviations.")
    sigma_max: float = Field(8.0, gt=0, description="Highest noise level, in residual standard deviations.")


class NetworkSettings(Settings):
    """Sizes of the two U-Nets: channels at each level, finest first, multiples of 8."""

    encoder: tuple[int, ...] = Field((48, 96, 192), description="Widths of the encoder.")
    denoiser: tuple[int, ...] = Field((32, 64, 128), description="Widths of the denoiser.")


class TrainingSettings(Settings):
    """``phyda train``; a TOML file may set any of these."""

    seed: int = Field(0, description="Seed of networks, noise and shuffling.")
    members: int = Field(128, ge=2, description="Static background-error members kept in the checkpoint.")
    samples: int = Field(8000, ge=1, description="Analysis cases simulated for training.")
    reports: tuple[int, int] = Field((20, 2000), description="Fewest and most reports of a simulated network.")
    validation_fraction: float = Field(0.08, gt=0, lt=0.5, description="Latest part of the span, kept from training.")
    encoder_epochs: float = Field(6.0, gt=0, description="Passes over the cases for the encoder.")
    denoiser_epochs: float = Field(3.0, gt=0, description="Passes over the cases for the denoiser.")
    batch: int = Field(16, ge=1, description="Cases per step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak of the cosine schedule (AdamW).")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    ema: float = Field(0.998, gt=0, lt=1, description="Decay of the averaged weights, which are the ones kept.")
    physics: float = Field(0.2, ge=0, description="Strength of the physics term at low noise; 0 switches it off.")
    max_minutes: float | None = Field(
        None, gt=0, description="Stop each network's training after so many minutes, the schedule fitted to it."
    )
    solver: SolverSettings = Field(default_factory=SolverSettings, description="Stage 1, stored in the checkpoint.")
    sampler: SamplerSettings = Field(default_factory=SamplerSettings, description="Stage 3, stored in the checkpoint.")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="Network sizes.")


class QualityControlSettings(Settings):
    """Quality control before and against the background."""

    window_hours: float = Field(3.0, gt=0, description="Observations within so many hours of the analysis time are used.")
    first_guess_factor: float = Field(5.0, gt=0, description="Reject when |O-B| exceeds this many sqrt(sigma_o^2 + sigma_b^2).")
    obs_error_scale: float = Field(1.0, gt=0, description="Factor on default observation errors.")


class EnsembleSettings(Settings):
    """The user's own ensemble, where there is one."""

    hybrid_weight: float = Field(0.5, ge=0, le=1, description="Share of the ensemble in B, the static members having the rest.")
    rtps: float = Field(0.6, ge=0, le=1, description="Relaxation of the analysis ensemble to the prior spread: 0 none, 1 all of it.")
    radius_km: float | None = Field(None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint.")
    radius_log_p: float | None = Field(None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint.")


Method = Literal["phyda", "oi", "letkf", "hybrid", "none"]


class AnalysisSettings(Settings):
    """``phyda assimilate``."""

    method: Method = Field(
        "phyda", description="Full model; linear analysis with static members, with an ensemble, or with both; or no analysis."
    )
    members: int = Field(16, ge=1, description="Analysis members (samples) of the method phyda.")
    seed: int = Field(0, ge=0, description="Seed of the members.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the networks and the solver run.")
    background_error_scale: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto", description="Factor on the background-error standard deviation; auto: from the innovations, for each group of variables."
    )
    qc: QualityControlSettings = Field(default_factory=QualityControlSettings, description="Quality control.")
    ensemble: EnsembleSettings = Field(default_factory=EnsembleSettings, description="The background's ensemble.")


S = TypeVar("S", bound=Settings)


def load_settings(model: type[S], path: Path | None, overrides: dict[str, object]) -> S:
    """Settings from a TOML file with ``overrides`` on top; None values in ``overrides`` count as not given.

    Raises InputError when the file is missing or no TOML, UsageError for unknown or invalid fields.
    """
    values: dict[str, object] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        return model.model_validate(values | {k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UsageError("; ".join(lines), hint=f"fields are those of {model.__name__} in phyda_cli/config.py") from error

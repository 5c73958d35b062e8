"""Settings of ``phyda train`` for usual grids; a configuration file and flags win over them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phyda_cli.settings.training import TrainingSettings

__all__ = ["Preset", "preset_settings"]


class Preset(StrEnum):
    """Names of the presets."""

    GLOBAL_64X32 = "64x32"
    GLOBAL_240X121 = "240x121"
    REGION = "region"


def preset_settings(preset: Preset) -> TrainingSettings:
    """The settings of ``preset``; only those it sets count."""
    from phyda_cli.settings.model import NetworkSettings, SolverSettings
    from phyda_cli.settings.training import TrainingSettings

    return {
        Preset.GLOBAL_64X32: TrainingSettings(
            members=384,
            case_members=128,
            samples=8000,
            encoder_epochs=5,
            denoiser_epochs=4,
            learning_rate=8e-4,
            weight_decay=0.05,
            solver=SolverSettings(radius_km=5000, column_stride=3),
        ),
        Preset.GLOBAL_240X121: TrainingSettings(
            members=256,
            case_members=128,
            samples=20000,
            reports=(50, 20000),
            encoder_epochs=5,
            denoiser_epochs=4,
            batch=32,
            accumulate=2,
            learning_rate=5e-4,
            weight_decay=0.05,
            patience=8,
            solver=SolverSettings(radius_km=4000, column_stride=6),
            network=NetworkSettings(
                encoder=(96, 192, 384, 512), denoiser=(64, 128, 256, 384), spread=(64, 128, 192)
            ),
        ),
        Preset.REGION: TrainingSettings(
            members=1000,
            samples=12000,
            encoder_epochs=12,
            denoiser_epochs=6,
            batch=64,
            reports=(6, 60),
            patience=8,
            solver=SolverSettings(radius_km=2000, column_stride=2, season_days=45),
            network=NetworkSettings(encoder=(48, 96), denoiser=(32, 64), spread=(), odd=False),
        ),
    }[preset]

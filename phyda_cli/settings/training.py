"""Settings of ``phyda train``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from phyda_cli.settings.base import Settings
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings

__all__ = ["TrainingSettings"]


class TrainingSettings(Settings):
    """``phyda train``; a TOML file may set any of these."""

    seed: int = Field(0, description="Seed of networks, noise and shuffling.")
    members: int = Field(
        128, ge=2, description="Static background-error members kept in the checkpoint."
    )
    case_members: int | None = Field(
        None,
        ge=2,
        description="Most of them that a case for training uses: fewer are faster; none: all.",
    )
    one_size: bool = Field(
        True,
        description="Static members are each divided by their own rms; better where errors "
        "differ much in size.",
    )
    case_eofs: int | None = Field(
        None,
        ge=2,
        description="Cases use so many leading EOFs of the members instead: faster on a small "
        "grid with many; none: no EOFs.",
    )
    keep_statistics: bool = Field(
        False,
        description="Keep statistics and static members of --init-from, for more training on "
        "data of the same kind.",
    )
    samples: int = Field(8000, ge=1, description="Analysis cases simulated for training.")
    reports: tuple[int, int] = Field(
        (20, 2000), description="Fewest and most reports of a simulated network."
    )
    complete_reports: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Fraction of the networks that are of stations which report every channel; "
        "the others are mixed.",
    )
    error_factor: float = Field(
        2.5,
        ge=1,
        description="A network's observation errors are up to so many times the default ones, or "
        "as much smaller.",
    )
    validation_fraction: float = Field(
        0.08, gt=0, lt=0.5, description="Latest part of the span, kept from training."
    )
    spread_epochs: float = Field(
        4.0, gt=0, description="Passes over the cases for the network of the background spread."
    )
    validation_cases: int = Field(
        128,
        ge=1,
        description="Most cases that score the encoder in training and calibrate its spread.",
    )
    encoder_epochs: float = Field(6.0, gt=0, description="Passes over the cases for the encoder.")
    denoiser_epochs: float = Field(3.0, gt=0, description="Passes over the cases for the denoiser.")
    batch: int = Field(16, ge=1, description="Cases per step, in all processes together.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which each process takes its share of a batch, one after the "
        "other: less memory, the same result.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak of the cosine schedule (AdamW).")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    ema: float = Field(
        0.998, gt=0, lt=1, description="Decay of the averaged weights, which are the ones kept."
    )
    physics: float = Field(
        0.2,
        ge=0,
        description="Strength of the physics term on the denoiser at low noise; 0 trains "
        "without it.",
    )
    encoder_physics: float = Field(
        0.3,
        ge=0,
        description="Strength of the physics term on the encoder's mean; 0 trains without it.",
    )
    balanced: bool = Field(
        False,
        description="The encoder's errors count relative to what stage 1 leaves, so that dense "
        "networks weigh as much as sparse ones.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the networks' products in training; weights and losses are always "
        "float32. auto: bfloat16 on a GPU that has it.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="With several processes each holds whole networks, or they divide weights, "
        "gradients and optimiser among them.",
    )
    compile: bool = Field(
        False,
        description="Compile the networks (torch.compile): half a minute or more, then "
        "faster steps.",
    )
    channels_last: bool = Field(False, description="Keep fields with the channels last in memory.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Stop each network's training after so many minutes, the schedule "
        "fitted to it.",
    )
    check_every: int = Field(
        250, ge=1, description="Steps between two checks on the validation cases."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop a network's training after so many checks without a better one; "
        "none: never.",
    )
    save_every: int = Field(
        100,
        ge=1,
        description="Steps between two states on disk, from which a stopped run continues.",
    )
    keep: int = Field(
        2, ge=1, description="Latest states kept on disk, besides that of the best check."
    )
    mean_error_patterns: int = Field(
        0,
        ge=0,
        description="Correct backgrounds first by what so many of their leading patterns tell of "
        "their error (linear regression). For "
        "persistence and the like, with network.odd = false; 0: no correction.",
    )
    mean_error_products: int = Field(
        0,
        ge=0,
        description="So many of these patterns are predictors in pairs and with the season as "
        "well: advection is a product.",
    )
    solver: SolverSettings = Field(
        default_factory=SolverSettings, description="Stage 1, stored in the checkpoint."
    )
    sampler: SamplerSettings = Field(
        default_factory=SamplerSettings, description="Stage 3, stored in the checkpoint."
    )
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="Network sizes.")

    @model_validator(mode="after")
    def _one_idea_of_backgrounds(self) -> TrainingSettings:
        if self.mean_error_patterns and self.network.odd:
            raise ValueError(
                "mean_error_patterns is for backgrounds whose mean error is known, network.odd "
                "for those where it is not"
            )
        return self

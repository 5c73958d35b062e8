"""Settings of ``phyda train``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from phyda_cli.settings.base import Settings, in_order
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings

__all__ = ["TrainingSettings"]


class TrainingSettings(Settings):
    """``phyda train``; a TOML file may set any of these."""

    command = "train"
    prefix = "PHYDA_TRAIN_"

    seed: int = Field(0, ge=0, description="Seed of networks, noise and shuffling.")
    members: int = Field(
        128, ge=2, description="Number of static background-error members in the checkpoint."
    )
    case_members: int | None = Field(
        None,
        ge=2,
        description="Use at most this many members in a training case, which is faster; none uses "
        "all.",
    )
    samples: int = Field(
        8000, ge=1, description="Number of analysis cases to simulate for training."
    )
    reports: tuple[PositiveInt, PositiveInt] = Field(
        (20, 2000), description="Fewest and most reports of a simulated observing network."
    )
    network_kind: Literal["mixed", "complete"] = Field(
        "mixed",
        description="Simulate observing networks of soundings, surface stations and aircraft with "
        "errors of any quality, or of stations that report every channel with errors near the "
        "default ones.",
    )
    validation_fraction: float = Field(
        0.08, gt=0, lt=0.5, description="Keep this latest part of the span from training."
    )
    spread_epochs: float = Field(
        4.0, gt=0, description="Passes over the cases for the background-spread network."
    )
    validation_cases: int = Field(
        128,
        ge=1,
        description="Use at most this many cases to score the encoder and calibrate its spread.",
    )
    cycle_days: int = Field(
        20,
        ge=1,
        description="With a nature run, score the encoder over this many days of its own cycle, "
        "after five to settle.",
    )
    encoder_epochs: float = Field(6.0, gt=0, description="Passes over the cases for the encoder.")
    denoiser_epochs: float = Field(3.0, gt=0, description="Passes over the cases for the denoiser.")
    batch: int = Field(16, ge=1, description="Cases in a step, of all processes together.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Take a batch in this many parts, one after the other: less memory, the same "
        "result.",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak of the cosine schedule (AdamW).")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    ema: float = Field(
        0.998, gt=0, lt=1, description="Decay of the averaged weights; the average is kept."
    )
    physics: float = Field(
        0.2,
        ge=0,
        description="Strength of the physics term on the denoiser at low noise; 0 turns it off.",
    )
    encoder_physics: float = Field(
        0.0,
        ge=0,
        description="Strength of the physics term on the encoder's mean. It costs accuracy and is "
        "not visible in a cycle, so it is off.",
    )
    balanced: bool = Field(
        False,
        description="Weigh the encoder's errors by those that stage 1 leaves, so that dense "
        "observing networks count as much as sparse ones.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Precision of the networks' products in training; auto takes bfloat16 on a GPU "
        "that has it. Weights and losses are always float32.",
    )
    compile: bool = Field(
        False,
        description="Compile the networks (torch.compile), which takes half a minute or more.",
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="End the whole training, cases and networks, after this many minutes; the "
        "number of cases and the schedules fit themselves to it.",
    )
    check_every: int = Field(
        250, ge=1, description="Check the validation cases after every n steps."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop the training of a network after this many checks without a better one; "
        "none never stops it.",
    )
    save_every: int = Field(
        100,
        ge=1,
        description="Save the state after every n steps; a stopped run goes on from there.",
    )
    keep: int = Field(
        2, ge=1, description="Keep this many latest states on disk, and that of the best check."
    )
    mean_error_patterns: int = Field(
        0,
        ge=0,
        description="Correct backgrounds by a linear regression of their error on this many "
        "leading patterns; for persistence, with network.odd = false. 0 corrects nothing.",
    )
    mean_error_products: int = Field(
        0,
        ge=0,
        description="Use this many of these patterns as predictors in pairs and with the season: "
        "advection is a product.",
    )
    solver: SolverSettings = Field(
        default_factory=SolverSettings, description="Stage 1, stored in the checkpoint."
    )
    sampler: SamplerSettings = Field(
        default_factory=SamplerSettings, description="Stage 3, stored in the checkpoint."
    )
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="Network sizes.")
    license: str | None = Field(
        None, description="Licence of the weights, for their model card; none states none."
    )

    @field_validator("reports")
    @classmethod
    def _in_order(cls, reports: tuple[int, int]) -> tuple[int, int]:
        return in_order(reports)

    @model_validator(mode="after")
    def _one_idea_of_backgrounds(self) -> TrainingSettings:
        if self.mean_error_patterns and self.network.odd:
            raise ValueError(
                "mean_error_patterns is for backgrounds whose mean error is known, network.odd "
                "for those where it is not"
            )
        return self

"""Settings of ``phyda assimilate``."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from phyda_cli.names import OBSERVABLES
from phyda_cli.settings.base import Settings
from phyda_cli.settings.model import SamplerSettings

__all__ = ["AnalysisSettings", "EnsembleSettings", "GuidanceSettings", "QualityControlSettings"]


class QualityControlSettings(Settings):
    """Quality control before and against the background."""

    window_hours: float = Field(
        3.0, gt=0, description="Observations within so many hours of the analysis time are used."
    )
    repeats: Literal["nearest", "all"] = Field(
        "nearest",
        description="Of a station's reports within the window use the one nearest to the "
        "analysis time, or all.",
    )
    stuck_hours: float | None = Field(
        12.0,
        gt=0,
        description="Reject a station's value that stays the same for so many hours; none: no "
        "such check.",
    )
    stuck_reports: int = Field(6, ge=3, description="The fewest reports that can show it.")
    height_limit_m: float = Field(
        500.0, gt=0, description="Reject stations further from the model's surface [m]."
    )
    msl_height_limit_m: float | None = Field(
        None,
        gt=0,
        description="Reject mean sea level pressure from stations so far above or below the sea "
        "[m]; none: from all.",
    )
    first_guess_factor: float = Field(
        5.0, gt=0, description="Reject when |O-B| exceeds this many sqrt(sigma_o^2 + sigma_b^2)."
    )
    buddy_factor: float | None = Field(
        5.0,
        gt=0,
        description="Reject when O-B differs by this many standard deviations from what its "
        "neighbours predict; none: no check.",
    )
    obs_error_scale: float = Field(
        1.0, gt=0, description="Factor on default observation errors; errors given with a row stay."
    )
    errors: dict[str, PositiveFloat | tuple[tuple[PositiveFloat, PositiveFloat], ...]] = Field(
        default_factory=dict,
        description="Default errors by variable in SI units: a number, or [pressure in hPa, "
        "error] knots, top first.",
    )
    height_error_scale: float = Field(
        1.0,
        ge=0,
        description="Factor on the error added to default errors for the height between station "
        "and model surface.",
    )
    thinning: Literal["none", "thin", "superob"] = Field(
        "none", description="Of the reports in a box use all, one, or their mean."
    )
    thinning_km: float = Field(100.0, gt=0, description="Size of a box [km].")
    thinning_log_p: float = Field(0.1, gt=0, description="Depth of a box in log pressure.")
    superob_correlation: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Correlation of the errors in a box; the mean of n has the variance (1 + (n "
        "- 1) rho) / n of one.",
    )
    robust: Literal["none", "huber"] = Field(
        "none", description="Weight observations down that stage 1 cannot fit (Huber norm)."
    )
    huber_k: float = Field(
        2.0,
        gt=0,
        description="Misfit in observation errors beyond which the weight falls as k / |misfit|.",
    )
    robust_iterations: int = Field(
        3, ge=2, le=10, description="Solutions of stage 1, each with the weights of the one before."
    )
    withhold: float = Field(
        0.0, ge=0, lt=1, description="Fraction of the stations to make passive, chosen by the seed."
    )

    @field_validator("errors")
    @classmethod
    def _known_variables(cls, errors: dict[str, Any]) -> dict[str, Any]:
        for name, value in errors.items():
            if name not in OBSERVABLES:
                raise ValueError(
                    f"{name!r} is no variable; expected some of {', '.join(OBSERVABLES)}"
                )
            pressures = [value] if isinstance(value, float) else [knot[0] for knot in value]
            if not pressures or any(b <= a for a, b in pairwise(pressures)):
                raise ValueError(f"the pressures of {name} must increase")
        return errors


class GuidanceSettings(Settings):
    """Observations that guide the sampler: all of them with the method guidance, a user's own
    operators with phyda."""

    rule: Literal["mmps", "dps"] = Field(
        "mmps", description="Moment matching, or the simpler posterior sampling of DPS."
    )
    steps: int | None = Field(
        None,
        ge=2,
        description="Noise levels of the sampler; none: 12 for mmps, 48 for dps, which need "
        "as long.",
    )
    sigma_min: float = Field(
        0.05, gt=0, description="Lowest noise level, in residual standard deviations."
    )
    sigma_max: float = Field(
        8.0, gt=0, description="Highest noise level, where sampling starts from noise alone."
    )
    iterations: int = Field(
        12, ge=2, description="Most conjugate-gradient iterations at each step (mmps)."
    )
    tolerance: float = Field(0.01, gt=0, description="Relative residual at which they end (mmps).")
    zeta: float = Field(
        0.5,
        gt=0,
        description="Step size (dps); tuned, and unstable where observations are dense and "
        "accurate.",
    )

    @property
    def sampler(self) -> SamplerSettings:
        """The sampler's settings under guidance: always from noise, for stage 1 draws nothing that
        knows all observations."""
        steps = self.steps or (12 if self.rule == "mmps" else 48)
        return SamplerSettings(
            start="noise", steps=steps, sigma_min=self.sigma_min, sigma_max=self.sigma_max
        )

    @model_validator(mode="after")
    def _levels_decrease(self) -> GuidanceSettings:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}"
            )
        return self


class EnsembleSettings(Settings):
    """The user's own ensemble, where there is one."""

    hybrid_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the ensemble in B, the static members having the rest.",
    )
    rtps: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Relaxation of the analysis ensemble to the prior spread: 0 none, 1 all of it.",
    )
    radius_km: float | None = Field(
        None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint."
    )
    radius_log_p: float | None = Field(
        None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint."
    )


Method = Literal["phyda", "oi", "letkf", "hybrid", "guidance", "none"]


class AnalysisSettings(Settings):
    """``phyda assimilate``."""

    method: Method = Field(
        "phyda",
        description="Full model; linear analysis with static members, an ensemble or both; the "
        "diffusion guided by the observations "
        "alone; or no analysis.",
    )
    members: int = Field(
        16, ge=1, description="Analysis members (samples) of the methods phyda and guidance."
    )
    physics: Literal["off", "train", "project"] = Field(
        "train",
        description="Physics of the increments: off, as they come, impossible humidity included; "
        "train, what the networks learned, and no "
        "negative humidity; project, also hydrostatic balance, column mass and humidity exactly, "
        "on the model grid.",
    )
    seed: int = Field(0, ge=0, description="Seed of the members.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks and the solver run."
    )
    background_error_scale: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="Factor on the background-error standard deviation; auto: from the "
        "innovations, for each group of variables.",
    )
    qc: QualityControlSettings = Field(
        default_factory=QualityControlSettings, description="Quality control."
    )
    guidance: GuidanceSettings = Field(
        default_factory=GuidanceSettings, description="Guided sampling."
    )
    ensemble: EnsembleSettings = Field(
        default_factory=EnsembleSettings, description="The background's ensemble."
    )

    @model_validator(mode="after")
    def _consistent(self) -> AnalysisSettings:
        if self.method == "guidance" and self.members < 2:
            raise ValueError(
                "the method guidance needs at least 2 members: its mean and spread are theirs"
            )
        if self.method == "guidance" and self.qc.robust != "none":
            raise ValueError(
                "robust weights come from stage 1, which the method guidance does without: use "
                "phyda or oi"
            )
        return self

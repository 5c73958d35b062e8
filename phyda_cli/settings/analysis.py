"""Settings of ``phyda assimilate``."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from phyda_cli.names import OBSERVABLES
from phyda_cli.settings.base import Settings
from phyda_cli.settings.fine import FineSettings
from phyda_cli.settings.model import SamplerSettings
from phyda_cli.settings.output import OutputSettings

__all__ = [
    "AnalysisSettings",
    "BiasSettings",
    "DegradedSettings",
    "EnsembleSettings",
    "GuidanceSettings",
    "QualityControlSettings",
    "VerdictSettings",
]


class QualityControlSettings(Settings):
    """Quality control before and against the background."""

    window_hours: float = Field(
        3.0, gt=0, description="Use observations within this many hours of the valid time."
    )
    repeats: Literal["nearest", "all"] = Field(
        "nearest",
        description="Use a station's report nearest to the valid time, or all its reports in the "
        "window.",
    )
    stuck_hours: float | None = Field(
        12.0,
        gt=0,
        description="Reject a station's value that has not changed for this many hours; none turns "
        "the check off.",
    )
    stuck_reports: int = Field(
        6, ge=3, description="Call a value stuck only after this many equal reports."
    )
    height_limit_m: float = Field(
        500.0, gt=0, description="Reject stations further than this from the model's surface [m]."
    )
    msl_height_limit_m: float | None = Field(
        None,
        gt=0,
        description="Reject mean sea level pressure from stations further than this above or below "
        "the sea [m]; none accepts it from all stations.",
    )
    first_guess_factor: float = Field(
        5.0,
        gt=0,
        description="Reject an observation whose |O-B| exceeds this many "
        "sqrt(sigma_o^2 + sigma_b^2).",
    )
    buddy_factor: float | None = Field(
        5.0,
        gt=0,
        description="Reject an observation whose O-B differs by this many standard deviations from "
        "what its neighbours predict; none turns the check off.",
    )
    spatial_factor: float | None = Field(
        None,
        gt=0,
        description="Reject a surface observation that differs by this many standard deviations "
        "from what the stations close to it predict, such as 5 for a network with many bad "
        "stations; none turns the check off.",
    )
    obs_error_scale: float = Field(
        1.0,
        gt=0,
        description="Multiply the default observation errors by this; an error given in a row "
        "stays as it is.",
    )
    errors: dict[str, PositiveFloat | tuple[tuple[PositiveFloat, PositiveFloat], ...]] = Field(
        default_factory=dict,
        description="Default observation errors by variable in SI units: one number, or pairs of "
        "pressure in hPa and error, top first.",
    )
    height_error_scale: float = Field(
        1.0,
        ge=0,
        description="Multiply the error that is added for the height between station and model "
        "surface by this.",
    )
    thinning: Literal["none", "thin", "superob"] = Field(
        "none",
        description="Use all reports in a box (none), one of them (thin) or their mean (superob).",
    )
    thinning_km: float = Field(100.0, gt=0, description="Width of a box for thinning [km].")
    thinning_log_p: float = Field(
        0.1, gt=0, description="Depth of a box for thinning in log pressure."
    )
    superob_correlation: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Correlation rho of the errors in a box: the mean of n reports has "
        "(1 + (n - 1) rho) / n times the variance of one.",
    )
    robust: Literal["none", "huber"] = Field(
        "none", description="Give less weight to observations that stage 1 cannot fit (Huber)."
    )
    huber_k: float = Field(
        2.0,
        gt=0,
        description="Lower the weight as k / |misfit| beyond this misfit, in observation errors.",
    )
    robust_iterations: int = Field(
        3,
        ge=2,
        le=10,
        description="Solve stage 1 this many times, each time with the weights of the solution "
        "before.",
    )
    withhold: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Compare this fraction of the stations, drawn by the seed, and do not use it.",
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
        "mmps",
        description="How observations guide the sampler: by moment matching, or by the simpler "
        "posterior sampling of DPS.",
    )
    steps: int | None = Field(
        None,
        ge=2,
        description="Number of noise levels; none means 12 for mmps and 48 for dps, which take the "
        "same time.",
    )
    sigma_min: float = Field(
        0.05, gt=0, description="Lowest noise level, in residual standard deviations."
    )
    sigma_max: float = Field(
        8.0, gt=0, description="Highest noise level; sampling starts there from noise alone."
    )
    iterations: int = Field(
        12, ge=2, description="Take at most this many conjugate-gradient iterations a step (mmps)."
    )
    tolerance: float = Field(
        0.01, gt=0, description="Stop the iterations at this relative residual (mmps)."
    )
    zeta: float = Field(
        0.5,
        gt=0,
        description="Step size (dps); it is unstable where observations are dense and accurate.",
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
        description="Share of your ensemble in the background-error covariance; static members "
        "have the rest.",
    )
    lagged_weight: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of lagged forecasts in the background-error covariance; static members "
        "have the rest.",
    )
    rtps: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Relax the analysis ensemble to the prior spread: 0 not at all, 1 all the way.",
    )
    radius_km: float | None = Field(
        None,
        gt=0,
        description="Distance at which an observation's influence ends with an ensemble [km]; none "
        "takes the checkpoint's.",
    )
    radius_log_p: float | None = Field(
        None,
        gt=0,
        description="The same in log pressure; none takes the checkpoint's.",
    )


class BiasSettings(Settings):
    """The memory of biased stations, which feedback files carry from analysis to analysis."""

    memory_days: float = Field(
        10.0, gt=0, description="A departure counts 1/e as much after so many days."
    )
    sigma: float = Field(
        2.0,
        gt=0,
        description="Standard deviation of the biases of biased stations, in observation errors.",
    )
    share: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of stations that are biased: the smaller, the more reports it takes "
        "before a bias is believed.",
    )
    correlation: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Correlation of the background's errors from one analysis to the next: more "
        "for hourly analyses than for those of every six hours.",
    )
    variables: tuple[str, ...] = Field(
        ("t2m", "q2m", "sp", "msl", "t", "q"),
        description="Variables whose biases are remembered and subtracted.",
    )
    anchors: tuple[str, ...] = Field(
        (), description="Stations that are never corrected; soundings never are."
    )

    @field_validator("variables")
    @classmethod
    def _known_variables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in OBSERVABLES:
                raise ValueError(
                    f"{name!r} is no variable; expected some of {', '.join(OBSERVABLES)}"
                )
        return names


class DegradedSettings(Settings):
    """What makes an analysis degraded, and what follows from it."""

    fail_on: Literal["never", "degraded"] = Field(
        "never",
        description="With degraded, publish nothing and exit with 5 where the analysis is "
        "degraded.",
    )
    longest_lead_hours: float = Field(
        240.0, gt=0, description="Longest forecast that is an ordinary background [h]."
    )


class VerdictSettings(Settings):
    """Limits beyond which an analysis is called suspect."""

    fail_on: Literal["never", "suspect"] = Field(
        "never",
        description="With suspect, publish nothing and exit with 5 where the verdict is suspect.",
    )
    fewest: int = Field(
        30, ge=1, description="Judge a variable by its observations only from this many on."
    )
    most_rejected: float = Field(
        0.15,
        gt=0,
        le=1,
        description="Largest fraction of a variable that does not fit the background.",
    )
    most_elsewhere: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Largest fraction of the observations outside the area or the time window.",
    )
    largest_bias: float = Field(
        1.0, gt=0, description="Largest mean O-B of a variable, in its expected standard deviation."
    )
    smallest_scale: float = Field(
        0.25, ge=0, description="Smallest factor on the background error, where it is estimated."
    )
    largest_scale: float = Field(
        4.0, gt=0, description="Largest factor on the background error, where it is estimated."
    )
    smallest_chi2: float = Field(0.1, ge=0, description="Smallest chi2 of a variable.")
    largest_chi2: float = Field(3.0, gt=0, description="Largest chi2 of a variable.")
    largest_increment: float = Field(
        3.0,
        gt=0,
        description="Largest rms of a channel's increments, in background-error standard "
        "deviations of the checkpoint.",
    )
    largest_withheld_ratio: float = Field(
        1.05,
        gt=0,
        description="Largest rms of O-A over rms of O-B of a variable at withheld stations.",
    )


Method = Literal["phyda", "oi", "letkf", "hybrid", "guidance", "none"]


class AnalysisSettings(Settings):
    """``phyda assimilate``."""

    command = "assimilate"
    prefix = "PHYDA_"

    method: Method = Field(
        "phyda",
        description="The full method (phyda); its linear part with static members (oi), an "
        "ensemble (letkf) or both (hybrid); diffusion guided by observations (guidance); or none.",
    )
    members: int = Field(
        16, ge=1, description="Number of analysis members that phyda and guidance draw."
    )
    physics: Literal["off", "train", "project"] = Field(
        "train",
        description="Balance increments exactly (project), keep what the networks learned and no "
        "humidity below zero or beyond saturation (train), or leave them as they come (off).",
    )
    seed: int = Field(0, ge=0, description="Seed of everything drawn at random.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks and the solver run."
    )
    background_error_scale: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="Multiply the background-error standard deviation by this; auto estimates a "
        "factor for each group of variables from the innovations.",
    )
    correction_weight: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="Weight of the learned correction, from 0, the linear analysis, to 1, all of "
        "it; auto estimates it for each group of variables from observations that it was not "
        "given.",
    )
    qc: QualityControlSettings = Field(
        default_factory=QualityControlSettings, description="Quality control."
    )
    guidance: GuidanceSettings = Field(
        default_factory=GuidanceSettings, description="Guided sampling."
    )
    fine: FineSettings = Field(
        default_factory=FineSettings,
        description="The surface on the grid of the background.",
    )
    ensemble: EnsembleSettings = Field(
        default_factory=EnsembleSettings, description="The background's ensemble."
    )

    verdict: VerdictSettings = Field(
        default_factory=VerdictSettings, description="When an analysis is suspect."
    )
    bias: BiasSettings = Field(
        default_factory=BiasSettings, description="The memory of biased stations."
    )
    degraded: DegradedSettings = Field(
        default_factory=DegradedSettings, description="When an analysis is degraded."
    )
    output: OutputSettings = Field(
        default_factory=OutputSettings, description="What is written of the analysis."
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

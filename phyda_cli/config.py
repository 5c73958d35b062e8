"""Settings: frozen, strict, each field described. Flags, environment and TOML files end up here."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)  # fmt: skip

from phyda_cli.errors import InputError, UsageError
from phyda_cli.names import OBSERVABLES

__all__ = [
    "AnalysisSettings",
    "DownloadSettings",
    "EnsembleSettings",
    "ExecutionSettings",
    "GuidanceSettings",
    "NetworkSettings",
    "PreprocessSettings",
    "QualityControlSettings",
    "RetrySettings",
    "SamplerSettings",
    "SolverSettings",
    "TrainingSettings",
    "TwinSettings",
    "load_settings",
]


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _list(value: object) -> object:
    """Text such as ``500,850`` as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _years(value: object) -> object:
    """``2015-2017`` in text or a list as three years."""
    value = _list(value)
    if not isinstance(value, list):
        return value
    spans = [str(part).partition("-") for part in value]
    if not all(first.isdigit() and (last or first).isdigit() for first, _, last in spans):
        raise ValueError(f"expected years such as 2015-2020 or 2015,2018, got {','.join(map(str, value))}")
    return sorted({year for first, _, last in spans for year in range(int(first), int(last or first) + 1)})


def _canonical(variables: tuple[str, ...]) -> tuple[str, ...]:
    from phyda_cli.names import VARIABLES, canonical_variable  # numpy, which the settings of other commands do without

    names = [canonical_variable(name) for name in variables]
    if None in names:
        raise ValueError(f"{variables[names.index(None)]} is not known; choose among {', '.join(VARIABLES)}")
    return tuple(dict.fromkeys(str(name) for name in names))


class SolverSettings(Settings):
    """Stage 1, the local ensemble-space analysis."""

    radius_km: float = Field(4000.0, gt=0, description="Distance at which an observation's influence ends [km].")
    radius_log_p: float | None = Field(
        4.0,
        gt=0,
        description="Distance in log pressure at which an observation's influence ends; none, or a large one: it reaches every level.",
    )
    column_stride: int = Field(2, ge=1, description="Weights are solved at every so-many-th grid point and interpolated.")
    season_days: int | None = Field(None, ge=1, description="Use static members within so many days of the date; none: all.")
    scale_deviation: float = Field(
        0.5,
        gt=0,
        description="How far the scale of the background's error may be from the expected one (standard deviation of its logarithm): less "
        "where all backgrounds are of one kind, such as persistence.",
    )


class SamplerSettings(Settings):
    """Stage 3, the second-order sampler."""

    start: Literal["linear", "noise"] = Field(
        "linear", description="Start from draws of stage 1's posterior with a little noise added, or from nothing but noise."
    )
    steps: int = Field(3, ge=2, description="Noise levels; each costs two network evaluations but the last.")
    sigma_min: float = Field(0.1, gt=0, description="Lowest noise level, in residual standard deviations.")
    sigma_max: float = Field(0.3, gt=0, description="Highest noise level, in residual standard deviations; 8 for a start from noise.")


class NetworkSettings(Settings):
    """Sizes of the U-Nets: channels at each level, finest first, multiples of 8."""

    encoder: tuple[int, ...] = Field((48, 96, 192), description="Widths of the encoder.")
    denoiser: tuple[int, ...] = Field((32, 64, 128), description="Widths of the denoiser.")
    spread: tuple[int, ...] = Field((32, 64, 96), description="Widths of the network of the background spread; empty: there is none.")
    odd: bool = Field(
        True,
        description="The mean's correction turns its sign with the innovations: what a cycle needs. False where backgrounds err in a way "
        "that can be known from them alone, such as persistence.",
    )
    linear: tuple[str, ...] = Field(
        (),
        description="Channels whose mean stays that of stage 1, such as those at a model's top that a correction would let drift.",
    )


class TrainingSettings(Settings):
    """``phyda train``; a TOML file may set any of these."""

    seed: int = Field(0, description="Seed of networks, noise and shuffling.")
    members: int = Field(128, ge=2, description="Static background-error members kept in the checkpoint.")
    case_members: int | None = Field(None, ge=2, description="Most of them that a case for training uses: fewer are faster; none: all.")
    one_size: bool = Field(True, description="Static members are each divided by their own rms; better where errors differ much in size.")
    case_eofs: int | None = Field(
        None, ge=2, description="Cases use so many leading EOFs of the members instead: faster on a small grid with many; none: no EOFs."
    )
    keep_statistics: bool = Field(
        False, description="Keep statistics and static members of --init-from, for more training on data of the same kind."
    )
    samples: int = Field(8000, ge=1, description="Analysis cases simulated for training.")
    reports: tuple[int, int] = Field((20, 2000), description="Fewest and most reports of a simulated network.")
    complete_reports: float = Field(
        0.0, ge=0, le=1, description="Fraction of the networks that are of stations which report every channel; the others are mixed."
    )
    error_factor: float = Field(
        2.5, ge=1, description="A network's observation errors are up to so many times the default ones, or as much smaller."
    )
    validation_fraction: float = Field(0.08, gt=0, lt=0.5, description="Latest part of the span, kept from training.")
    spread_epochs: float = Field(4.0, gt=0, description="Passes over the cases for the network of the background spread.")
    validation_cases: int = Field(128, ge=1, description="Most cases that score the encoder in training and calibrate its spread.")
    encoder_epochs: float = Field(6.0, gt=0, description="Passes over the cases for the encoder.")
    denoiser_epochs: float = Field(3.0, gt=0, description="Passes over the cases for the denoiser.")
    batch: int = Field(16, ge=1, description="Cases per step, in all processes together.")
    accumulate: int = Field(
        1, ge=1, description="Parts in which each process takes its share of a batch, one after the other: less memory, the same result."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak of the cosine schedule (AdamW).")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    ema: float = Field(0.998, gt=0, lt=1, description="Decay of the averaged weights, which are the ones kept.")
    physics: float = Field(0.2, ge=0, description="Strength of the physics term on the denoiser at low noise; 0 trains without it.")
    encoder_physics: float = Field(0.3, ge=0, description="Strength of the physics term on the encoder's mean; 0 trains without it.")
    balanced: bool = Field(
        False,
        description="The encoder's errors count relative to what stage 1 leaves, so that dense networks weigh as much as sparse ones.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the networks' products in training; weights and losses are always float32. auto: bfloat16 on a GPU that has it.",
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp", description="With several processes each holds whole networks, or they divide weights, gradients and optimiser among them."
    )
    compile: bool = Field(False, description="Compile the networks (torch.compile): half a minute or more, then faster steps.")
    channels_last: bool = Field(False, description="Keep fields with the channels last in memory.")
    max_minutes: float | None = Field(
        None, gt=0, description="Stop each network's training after so many minutes, the schedule fitted to it."
    )
    check_every: int = Field(250, ge=1, description="Steps between two checks on the validation cases.")
    patience: int | None = Field(
        None, ge=1, description="Stop a network's training after so many checks without a better one; none: never."
    )
    save_every: int = Field(100, ge=1, description="Steps between two states on disk, from which a stopped run continues.")
    keep: int = Field(2, ge=1, description="Latest states kept on disk, besides that of the best check.")
    mean_error_patterns: int = Field(
        0,
        ge=0,
        description="Correct backgrounds first by what so many of their leading patterns tell of their error (linear regression). For "
        "persistence and the like, with network.odd = false; 0: no correction.",
    )
    mean_error_products: int = Field(
        0, ge=0, description="So many of these patterns are predictors in pairs and with the season as well: advection is a product."
    )
    solver: SolverSettings = Field(default_factory=SolverSettings, description="Stage 1, stored in the checkpoint.")
    sampler: SamplerSettings = Field(default_factory=SamplerSettings, description="Stage 3, stored in the checkpoint.")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="Network sizes.")

    @model_validator(mode="after")
    def _one_idea_of_backgrounds(self) -> TrainingSettings:
        if self.mean_error_patterns and self.network.odd:
            raise ValueError("mean_error_patterns is for backgrounds whose mean error is known, network.odd for those where it is not")
        return self


class TwinSettings(Settings):
    """``phyda cycle twin``."""

    seed: int = Field(0, ge=0, description="Seed of networks and observation errors.")
    method: Literal["oi", "phyda"] = Field("oi", description="Analyses of stage 1 alone, or phyda's mean.")
    forecast_hours: int = Field(24, ge=6, multiple_of=6, description="Length of the forecast from every analysis [h].")
    regime_days: int = Field(6, ge=1, description="A network keeps its size for so many days.")
    reports: tuple[PositiveInt, PositiveInt] = Field((20, 2000), description="Fewest and most reports of a network.")
    lag_days: int = Field(5, ge=1, description="The first background is the truth of so many days before.")

    @field_validator("reports")
    @classmethod
    def _in_order(cls, reports: tuple[int, int]) -> tuple[int, int]:
        if reports[0] > reports[1]:
            raise ValueError(f"the fewest, {reports[0]}, are more than the most, {reports[1]}")
        return reports


class RetrySettings(Settings):
    """How long ``phyda download`` goes on asking a server that fails; waits double and are drawn at random below their limit."""

    attempts: int = Field(10, ge=1, description="Times a request is made before the download stops.")
    first_wait: float = Field(1.0, ge=0, description="Longest wait after the first failure [s].")
    longest_wait: float = Field(60.0, ge=0, description="Longest wait after any failure [s].")
    timeout: float = Field(60.0, gt=0, description="Seconds without a byte after which a connection counts as lost.")
    connections: int = Field(16, ge=1, description="Requests in flight at once.")


class DownloadSettings(Settings):
    """What ``phyda download`` takes from an archive. Text such as ``2015-2017,2020`` or ``500,850`` counts as a list."""

    years: tuple[int, ...] = Field(description="Years, as 2015-2020 or 2015,2018.", min_length=1)
    hours: tuple[int, ...] = Field((0, 6, 12, 18), description="Hours of the day [UTC].", min_length=1)
    levels: tuple[int, ...] = Field(
        (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000), description="Pressure levels [hPa].", min_length=1
    )
    variables: tuple[str, ...] = Field(
        ("z", "t", "q", "u", "v", "msl", "t2m", "u10", "v10"), description="Variables, under any of their names.", min_length=1
    )
    area: tuple[float, float, float, float] | None = Field(None, description="North, west, south, east [degrees]; none: the globe.")
    leads: tuple[int, ...] = Field((6, 12, 18, 24, 36, 48), description="Lead times of forecasts [h].", min_length=1)

    _listed = field_validator("hours", "levels", "variables", "area", "leads", mode="before")(_list)
    _spans = field_validator("years", mode="before")(_years)

    @field_validator("hours", "levels", "leads")
    @classmethod
    def _sorted(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        low, high = {"hours": (0, 23), "levels": (1, 1000), "leads": (0, 384)}[str(info.field_name)]
        if not all(low <= v <= high for v in value):
            raise ValueError(f"expected {low} to {high}, got {','.join(map(str, value))}")
        return tuple(sorted(set(value)))

    @field_validator("variables")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _canonical(value)

    @field_validator("area")
    @classmethod
    def _box(cls, value: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if value is not None and not (-90 <= value[2] < value[0] <= 90 and all(-360 <= v <= 360 for v in (value[1], value[3]))):
            raise ValueError(f"expected north,west,south,east in degrees, got {','.join(f'{v:g}' for v in value)}")
        return value


class PreprocessSettings(Settings):
    """``phyda preprocess``: what a training store is to hold. Text such as ``2015-2017,2020`` or ``500,850`` counts as a list."""

    grid: str = Field("64x32", pattern=r"^(\d+x\d+|as-is)$", description="Columns x rows of a global grid, or as-is: that of the analyses.")
    channels: tuple[str, ...] | None = Field(
        None, min_length=1, description="Channels such as z500 or msl, instead of variables and levels."
    )
    variables: tuple[str, ...] = Field(
        ("z", "t", "q", "u", "v", "msl", "t2m", "u10", "v10"), min_length=1, description="Variables, under any of their names."
    )
    levels: tuple[int, ...] = Field((50, 100, 200, 300, 500, 700, 850, 925), min_length=1, description="Pressure levels [hPa].")
    pairs: tuple[Literal["cycled", "forecast", "lagged", "twin"], ...] = Field(
        ("forecast",), min_length=1, description="Kinds of (background, truth) pairs."
    )
    lag_hours: int = Field(24, ge=1, description="Hours between background and truth of lagged pairs.")
    lag_scale: float = Field(1.0, gt=0, description="Factor on lagged differences.")
    first: str | None = Field(None, description="Use valid times from this one on.")
    last: str | None = Field(None, description="Use valid times before this one.")
    train_years: tuple[int, ...] = Field((), description="Years of the pairs for training; none: those not in the other two.")
    validation_years: tuple[int, ...] = Field((), description="Years of the pairs for validation.")
    test_years: tuple[int, ...] = Field((), description="Years of the pairs for testing.")
    validation_fraction: float = Field(
        0.08, gt=0, lt=0.5, description="Without any years: the latest part of the span, kept from the statistics."
    )
    packing: Literal["float32", "int16"] = Field("float32", description="How states are stored; int16: scaled for each field.")
    missing: Literal["error", "skip"] = Field("error", description="States with missing values or channels: stop, or leave them out.")
    season_members: int = Field(64, ge=1, description="Static background-error members chosen from each season.")

    _listed = field_validator("channels", "variables", "levels", "pairs", mode="before")(_list)
    _spans = field_validator("train_years", "validation_years", "test_years", mode="before")(_years)
    _known = field_validator("variables")(_canonical)

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        from phyda_cli.names import parse_channel

        return None if value is None else tuple(dict.fromkeys(parse_channel(key).key for key in value))

    @model_validator(mode="after")
    def _years_apart(self) -> PreprocessSettings:
        every = (*self.train_years, *self.validation_years, *self.test_years)
        if twice := sorted({year for year in every if every.count(year) > 1}):
            raise ValueError(f"{', '.join(map(str, twice))} in more than one of train_years, validation_years and test_years")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The channels of a state, variable by variable."""
        from phyda_cli.names import VARIABLES, Channel

        upper = [Channel(v, float(p)).key for v in self.variables if not VARIABLES[v].surface for p in self.levels]
        return self.channels or (*upper, *(v for v in self.variables if VARIABLES[v].surface))


class ExecutionSettings(Settings):
    """Where ``phyda preprocess`` runs; the store does not depend on it."""

    scheduler: str | None = Field(None, pattern=r"^\w+://.+$", description="Address of a Dask scheduler; none: threads of this process.")
    workers: int | None = Field(None, ge=1, description="Threads; none: as many as there are cores.")
    memory_limit: ByteSize = Field(ByteSize(4_000_000_000), gt=0, description="Most memory the process may take, such as 4GB.")


class QualityControlSettings(Settings):
    """Quality control before and against the background."""

    window_hours: float = Field(3.0, gt=0, description="Observations within so many hours of the analysis time are used.")
    repeats: Literal["nearest", "all"] = Field(
        "nearest", description="Of a station's reports within the window use the one nearest to the analysis time, or all."
    )
    stuck_hours: float | None = Field(
        12.0, gt=0, description="Reject a station's value that stays the same for so many hours; none: no such check."
    )
    stuck_reports: int = Field(6, ge=3, description="The fewest reports that can show it.")
    height_limit_m: float = Field(500.0, gt=0, description="Reject stations further from the model's surface [m].")
    msl_height_limit_m: float | None = Field(
        None, gt=0, description="Reject mean sea level pressure from stations so far above or below the sea [m]; none: from all."
    )
    first_guess_factor: float = Field(5.0, gt=0, description="Reject when |O-B| exceeds this many sqrt(sigma_o^2 + sigma_b^2).")
    buddy_factor: float | None = Field(
        5.0, gt=0, description="Reject when O-B differs by this many standard deviations from what its neighbours predict; none: no check."
    )
    obs_error_scale: float = Field(1.0, gt=0, description="Factor on default observation errors; errors given with a row stay.")
    errors: dict[str, PositiveFloat | tuple[tuple[PositiveFloat, PositiveFloat], ...]] = Field(
        default_factory=dict, description="Default errors by variable in SI units: a number, or [pressure in hPa, error] knots, top first."
    )
    height_error_scale: float = Field(
        1.0, ge=0, description="Factor on the error added to default errors for the height between station and model surface."
    )
    thinning: Literal["none", "thin", "superob"] = Field("none", description="Of the reports in a box use all, one, or their mean.")
    thinning_km: float = Field(100.0, gt=0, description="Size of a box [km].")
    thinning_log_p: float = Field(0.1, gt=0, description="Depth of a box in log pressure.")
    superob_correlation: float = Field(
        0.3, ge=0, le=1, description="Correlation of the errors in a box; the mean of n has the variance (1 + (n - 1) rho) / n of one."
    )
    robust: Literal["none", "huber"] = Field("none", description="Weight observations down that stage 1 cannot fit (Huber norm).")
    huber_k: float = Field(2.0, gt=0, description="Misfit in observation errors beyond which the weight falls as k / |misfit|.")
    robust_iterations: int = Field(3, ge=2, le=10, description="Solutions of stage 1, each with the weights of the one before.")
    withhold: float = Field(0.0, ge=0, lt=1, description="Fraction of the stations to make passive, chosen by the seed.")

    @field_validator("errors")
    @classmethod
    def _known_variables(cls, errors: dict[str, Any]) -> dict[str, Any]:
        for name, value in errors.items():
            if name not in OBSERVABLES:
                raise ValueError(f"{name!r} is no variable; expected some of {', '.join(OBSERVABLES)}")
            pressures = [value] if isinstance(value, float) else [knot[0] for knot in value]
            if not pressures or any(b <= a for a, b in pairwise(pressures)):
                raise ValueError(f"the pressures of {name} must increase")
        return errors


class GuidanceSettings(Settings):
    """Observations that guide the sampler: all of them with the method guidance, a user's own operators with phyda."""

    rule: Literal["mmps", "dps"] = Field("mmps", description="Moment matching, or the simpler posterior sampling of DPS.")
    steps: int | None = Field(None, ge=2, description="Noise levels of the sampler; none: 12 for mmps, 48 for dps, which need as long.")
    sigma_min: float = Field(0.05, gt=0, description="Lowest noise level, in residual standard deviations.")
    sigma_max: float = Field(8.0, gt=0, description="Highest noise level, where sampling starts from noise alone.")
    iterations: int = Field(12, ge=2, description="Most conjugate-gradient iterations at each step (mmps).")
    tolerance: float = Field(0.01, gt=0, description="Relative residual at which they end (mmps).")
    zeta: float = Field(0.5, gt=0, description="Step size (dps); tuned, and unstable where observations are dense and accurate.")

    @property
    def sampler(self) -> SamplerSettings:
        """The sampler's settings under guidance: always from noise, for stage 1 draws nothing that knows all observations."""
        steps = self.steps or (12 if self.rule == "mmps" else 48)
        return SamplerSettings(start="noise", steps=steps, sigma_min=self.sigma_min, sigma_max=self.sigma_max)

    @model_validator(mode="after")
    def _levels_decrease(self) -> GuidanceSettings:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self


class EnsembleSettings(Settings):
    """The user's own ensemble, where there is one."""

    hybrid_weight: float = Field(0.5, ge=0, le=1, description="Share of the ensemble in B, the static members having the rest.")
    rtps: float = Field(0.6, ge=0, le=1, description="Relaxation of the analysis ensemble to the prior spread: 0 none, 1 all of it.")
    radius_km: float | None = Field(None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint.")
    radius_log_p: float | None = Field(None, gt=0, description="As the solver's, with an ensemble; none: that of the checkpoint.")


Method = Literal["phyda", "oi", "letkf", "hybrid", "guidance", "none"]


class AnalysisSettings(Settings):
    """``phyda assimilate``."""

    method: Method = Field(
        "phyda",
        description="Full model; linear analysis with static members, an ensemble or both; the diffusion guided by the observations "
        "alone; or no analysis.",
    )
    members: int = Field(16, ge=1, description="Analysis members (samples) of the methods phyda and guidance.")
    physics: Literal["off", "train", "project"] = Field(
        "train",
        description="Physics of the increments: off, as they come, impossible humidity included; train, what the networks learned, and no "
        "negative humidity; project, also hydrostatic balance, column mass and humidity exactly, on the model grid.",
    )
    seed: int = Field(0, ge=0, description="Seed of the members.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the networks and the solver run.")
    background_error_scale: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto", description="Factor on the background-error standard deviation; auto: from the innovations, for each group of variables."
    )
    qc: QualityControlSettings = Field(default_factory=QualityControlSettings, description="Quality control.")
    guidance: GuidanceSettings = Field(default_factory=GuidanceSettings, description="Guided sampling.")
    ensemble: EnsembleSettings = Field(default_factory=EnsembleSettings, description="The background's ensemble.")

    @model_validator(mode="after")
    def _consistent(self) -> AnalysisSettings:
        if self.method == "guidance" and self.members < 2:
            raise ValueError("the method guidance needs at least 2 members: its mean and spread are theirs")
        if self.method == "guidance" and self.qc.robust != "none":
            raise ValueError("robust weights come from stage 1, which the method guidance does without: use phyda or oi")
        return self


S = TypeVar("S", bound=Settings)


def load_settings(model: type[S], path: Path | None, overrides: dict[str, object], preset: S | None = None) -> S:
    """Settings from a TOML file with ``overrides`` on top, nested as the settings are; None in ``overrides`` counts as not given.
    What neither has is taken from ``preset``.

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
        below = preset.model_dump(exclude_unset=True) if preset else {}
        return model.model_validate(_merged(below, _merged(values, overrides)))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UsageError("; ".join(lines), hint=f"fields are those of {model.__name__} in phyda_cli/config.py") from error


def _merged(values: dict[str, object], overrides: dict[str, object]) -> dict[str, object]:
    out = dict(values)
    for key, value in overrides.items():
        if isinstance(value, dict):
            below = out.get(key, {})
            out[key] = _merged(below, value) if isinstance(below, dict) else below
        elif value is not None:
            out[key] = value
    return out

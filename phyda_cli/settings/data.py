"""Settings of the commands that make training data: download, preprocess and the twin cycle."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from pydantic import ByteSize, Field, PositiveInt, ValidationInfo, field_validator, model_validator

from phyda_cli.names import VARIABLES, Channel, canonical_variable, parse_channel
from phyda_cli.settings.base import Settings, in_order

__all__ = [
    "DownloadSettings",
    "ExecutionSettings",
    "PreprocessSettings",
    "RetrySettings",
    "TwinSettings",
]


def _years(value: object) -> object:
    """``2015-2017`` in text or a list as three years."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        return value
    spans = [str(part).partition("-") for part in value]
    if not all(first.isdigit() and (last or first).isdigit() for first, _, last in spans):
        raise ValueError(
            f"expected years such as 2015-2020 or 2015,2018, got {','.join(map(str, value))}"
        )
    return sorted(
        {year for first, _, last in spans for year in range(int(first), int(last or first) + 1)}
    )


def _canonical(variables: tuple[str, ...]) -> tuple[str, ...]:
    names = [canonical_variable(name) for name in variables]
    if None in names:
        raise ValueError(
            f"{variables[names.index(None)]} is not known; choose among {', '.join(VARIABLES)}"
        )
    return tuple(dict.fromkeys(str(name) for name in names))


class TwinSettings(Settings):
    """``phyda simulate twin``."""

    command = "simulate"
    prefix = "PHYDA_SIMULATE_"

    seed: int = Field(
        0, ge=0, description="Seed of the observing networks and of the observation errors."
    )
    method: Literal["oi", "phyda"] = Field(
        "oi", description="Analyse with stage 1 alone (oi), or with the networks' mean (phyda)."
    )
    forecast_hours: int = Field(
        24, ge=6, multiple_of=6, description="Length of the forecast from every analysis [h]."
    )
    lagged: int = Field(
        0,
        ge=0,
        description="Use up to this many forecasts of earlier analyses as members too, those that "
        "started 12, 18, ... h ago.",
    )
    iau_parts: int = Field(
        0,
        ge=0,
        description="Add the increment in this many equal parts over the 6 h after the analysis "
        "(incremental analysis update); 0 adds it at once.",
    )
    regime_days: int = Field(
        6, ge=1, description="An observing network keeps its size for this many days."
    )
    reports: tuple[PositiveInt, PositiveInt] = Field(
        (20, 2000), description="Fewest and most reports of an observing network."
    )
    lag_days: int = Field(
        5, ge=1, description="Take the truth of this many days before as first background."
    )
    first: str | None = Field(None, description="Analyse from this time on.")
    last: str | None = Field(None, description="Analyse until before this time.")

    @field_validator("reports")
    @classmethod
    def _in_order(cls, reports: tuple[int, int]) -> tuple[int, int]:
        return in_order(reports)

    @field_validator("iau_parts")
    @classmethod
    def _half_hours(cls, parts: int) -> int:
        if parts and 12 % parts:
            raise ValueError(f"expected 1, 2, 3, 4, 6 or 12 parts of 6 h, got {parts}")
        return parts

    @field_validator("first", "last")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return datetime.fromisoformat(value).replace(tzinfo=None).isoformat()
        except ValueError as error:
            raise ValueError(f"expected a time such as 2001-06-01, got {value}") from error

    @model_validator(mode="after")
    def _long_enough(self) -> TwinSettings:
        if 6 * (1 + self.lagged) > self.forecast_hours and self.lagged:
            raise ValueError(
                f"{self.lagged} lagged forecasts need forecasts of {6 * (1 + self.lagged)} h, not "
                f"of {self.forecast_hours}"
            )
        return self


class RetrySettings(Settings):
    """How long ``phyda download`` goes on asking a server that fails; waits double and are drawn at
    random below their limit."""

    command = "download"
    prefix = "PHYDA_DOWNLOAD_"

    attempts: int = Field(
        10, ge=1, description="Make a failing request this many times, with growing waits."
    )
    first_wait: float = Field(1.0, ge=0, description="Longest wait after the first failure [s].")
    longest_wait: float = Field(60.0, ge=0, description="Longest wait after any failure [s].")
    timeout: float = Field(
        60.0, gt=0, description="Seconds without a byte after which a connection counts as lost."
    )
    connections: int = Field(16, ge=1, description="Requests in flight at once.")


class DownloadSettings(Settings):
    """What ``phyda download`` takes from an archive. Text such as ``2015-2017,2020`` or ``500,850``
    counts as a list."""

    command = "download"
    prefix = "PHYDA_DOWNLOAD_"

    years: tuple[int, ...] = Field(
        description="Years such as 2015-2020 or 2015,2018.", min_length=1
    )
    hours: tuple[int, ...] = Field(
        (0, 6, 12, 18), description="Hours of the day [UTC].", min_length=1
    )
    levels: tuple[int, ...] = Field(
        (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000),
        description="Pressure levels [hPa].",
        min_length=1,
    )
    variables: tuple[str, ...] = Field(
        ("z", "t", "q", "u", "v", "msl", "t2m", "u10", "v10"),
        description="Variables under any of their names; orography and lsm always come.",
        min_length=1,
    )
    area: tuple[float, float, float, float] | None = Field(
        None, description="North, west, south and east edges [degrees]; none takes the globe."
    )
    leads: tuple[int, ...] = Field(
        (6, 12, 18, 24, 36, 48), description="Lead times of forecasts [h].", min_length=1
    )

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
    def _box(
        cls, value: tuple[float, float, float, float] | None
    ) -> tuple[float, float, float, float] | None:
        if value is not None and not (
            -90 <= value[2] < value[0] <= 90 and all(-360 <= v <= 360 for v in (value[1], value[3]))
        ):
            raise ValueError(
                "expected north,west,south,east in degrees, got "
                f"{','.join(f'{v:g}' for v in value)}"
            )
        return value


class PreprocessSettings(Settings):
    """``phyda preprocess``: what a training store is to hold. Text such as ``2015-2017,2020`` or
    counts as a list."""

    command = "preprocess"
    prefix = "PHYDA_PREPROCESS_"

    grid: str = Field(
        "64x32",
        description="Columns x rows of a global grid such as 240x121, or as-is to keep the grid of "
        "the analyses.",
    )
    channels: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Channels such as z500 or msl, instead of variables and levels.",
    )
    variables: tuple[str, ...] = Field(
        ("z", "t", "q", "u", "v", "msl", "t2m", "u10", "v10"),
        min_length=1,
        description="Variables, under any of their names.",
    )
    levels: tuple[int, ...] = Field(
        (50, 100, 200, 300, 500, 700, 850, 925), min_length=1, description="Pressure levels [hPa]."
    )
    pairs: tuple[Literal["cycled", "forecast", "lagged", "twin"], ...] = Field(
        ("forecast",),
        min_length=1,
        description="Kinds of pairs: cycled (by phyda cycle), forecast (all forecasts), lagged "
        "(earlier analyses), twin (forecasts of the model that made the analyses).",
    )
    lag_hours: int = Field(
        24, ge=1, description="Hours between background and truth of lagged pairs."
    )
    lag_scale: float = Field(1.0, gt=0, description="Multiply lagged differences by this.")
    first: str | None = Field(None, description="Use valid times from this one on.")
    last: str | None = Field(None, description="Use valid times before this one.")
    train_years: tuple[int, ...] = Field(
        (), description="Years of pairs for training; without any, those not in the other two."
    )
    validation_years: tuple[int, ...] = Field((), description="Years of pairs for validation.")
    test_years: tuple[int, ...] = Field(
        (), description="Years of pairs for testing, which training never sees."
    )
    validation_fraction: float = Field(
        0.08,
        gt=0,
        lt=0.5,
        description="Without any years, keep this latest part of the span for validation.",
    )
    packing: Literal["float32", "int16"] = Field(
        "float32",
        description="Store states as float32, or as int16: about half the size, to 1/131068 of a "
        "field's range.",
    )
    missing: Literal["error", "skip"] = Field(
        "error",
        description="Stop at states with missing values or channels (error), or leave them out "
        "(skip).",
    )

    @field_validator("grid")
    @classmethod
    def _grid(cls, value: str) -> str:
        if not re.fullmatch(r"\d+x\d+|as-is", value):
            raise ValueError(
                "expected columns x rows such as 64x32, or as-is to keep the grid of the analyses"
            )
        return value

    _spans = field_validator("train_years", "validation_years", "test_years", mode="before")(_years)
    _known = field_validator("variables")(_canonical)

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return (
            None if value is None else tuple(dict.fromkeys(parse_channel(key).key for key in value))
        )

    @model_validator(mode="after")
    def _years_apart(self) -> PreprocessSettings:
        every = (*self.train_years, *self.validation_years, *self.test_years)
        if twice := sorted({year for year in every if every.count(year) > 1}):
            raise ValueError(
                f"{', '.join(map(str, twice))} in more than one of train_years, validation_years "
                "and test_years"
            )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The channels of a state, variable by variable."""
        upper = [
            Channel(v, float(p)).key
            for v in self.variables
            if not VARIABLES[v].surface
            for p in self.levels
        ]
        return self.channels or (*upper, *(v for v in self.variables if VARIABLES[v].surface))


class ExecutionSettings(Settings):
    """Where ``phyda preprocess`` runs; the store does not depend on it."""

    command = "preprocess"
    prefix = "PHYDA_PREPROCESS_"

    scheduler: str | None = Field(
        None,
        pattern=r"^\w+://.+$",
        description="Dask scheduler such as tcp://host:8786 whose workers see the same files; none "
        "runs threads in this process.",
    )
    workers: int | None = Field(None, ge=1, description="Number of threads; none takes one a core.")
    memory_limit: ByteSize = Field(
        ByteSize(4_000_000_000),
        gt=0,
        description="Take at most this much memory, such as 4GB; fewer threads "
        "run where it is small.",
    )

"""Settings of ``phyda cycle run``: where inputs come from, how long to wait, what may be published.

File patterns are Python format strings with ``{time}``, the time of the analysis; patterns of
forecasts also have ``{start}``, the forecast's start, and ``{lead}``, its length in whole hours:
``fc_{start:%Y%m%d%H}_f{lead:03d}.nc``. After that ``*`` and ``?`` match file names.
"""

from __future__ import annotations

import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from phyda_cli.settings.base import Settings

__all__ = [
    "BackgroundSource",
    "CycleSettings",
    "GateSettings",
    "ObservationSource",
    "RetentionSettings",
    "fields_of",
    "filled",
]

_EXAMPLE = {
    "time": datetime(2000, 2, 29, 6, tzinfo=UTC),
    "start": datetime(2000, 2, 29, tzinfo=UTC),
    "lead": 6,
    "out": "out.nc",
    "previous": "analysis.nc",
}


def filled(pattern: str, **fields: object) -> str:
    """``pattern`` with its fields filled in.

    Raises ValueError for an unknown field, and for access to attributes or items of a field.
    """
    for name in sorted(fields_of(pattern) - fields.keys()):
        known = ", ".join("{" + f + "}" for f in fields)
        raise ValueError(f"{{{name}}} in {pattern} is not a field; the fields are {known}")
    return pattern.format(**fields)


def fields_of(pattern: str) -> set[str]:
    """The fields in ``pattern``."""
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}


def _checked(pattern: str, *names: str) -> str:
    filled(pattern, **{name: _EXAMPLE[name] for name in names})
    return pattern


class ObservationSource(Settings):
    """One stream of observations."""

    pattern: str = Field(description="Files of a cycle, such as metar_{time:%Y%m%d%H}*.csv.")
    map: Path | None = Field(None, description="Mapping file of its columns, as for --obs-map.")
    decimal: Literal["point", "comma"] | None = Field(
        None, description="Decimal sign of its numbers, as for --decimal; none: told from the file."
    )
    required: bool = Field(False, description="Whether a cycle without it counts as degraded.")
    done_marker: str | None = Field(
        None,
        description="A file that appears when the stream is complete. Without one the cycle waits "
        "until sizes settle.",
    )

    @field_validator("pattern", "done_marker")
    @classmethod
    def _fields(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value, "time")


class BackgroundSource(Settings):
    """One way to a background; the cycle tries its sources in their order."""

    pattern: str | None = Field(
        None, description="Forecast files, such as fc_{start:%Y%m%d%H}_f{lead:03d}.nc."
    )
    run: tuple[str, ...] = Field(
        (),
        description="Command that makes the background, run without a shell. It has the fields "
        "{time}, {previous}, the last analysis, and {out}, the file it must write.",
    )
    starts_every_hours: int = Field(
        6, ge=1, le=24, description="Hours between two forecast starts."
    )
    max_lead_hours: int = Field(
        24, ge=0, description="Longest forecast, or oldest previous analysis, that may be used [h]."
    )
    lagged_hours: int = Field(
        0,
        ge=0,
        description="Forecasts of earlier starts, up to this old [h], say beside the background "
        "how it may err (--lagged, methods oi and phyda); 0: none.",
    )
    minutes: float = Field(60.0, gt=0, description="Longest time that the command may take [min].")

    @model_validator(mode="after")
    def _one_way(self) -> BackgroundSource:
        if (self.pattern is None) == (not self.run):
            raise ValueError("give either pattern or run")
        if self.pattern is not None:
            _checked(self.pattern, "time", "start", "lead")
        if self.lagged_hours and self.run:
            raise ValueError("lagged_hours goes with pattern, not with run")
        for word in self.run:
            _checked(word, "time", "previous", "out")
        return self


class GateSettings(Settings):
    """What an analysis must pass before it is published. The thresholds are ours."""

    rejected_fraction: float = Field(
        0.5, gt=0, le=1, description="Largest fraction of the observations that may be rejected."
    )
    fewest_of_usual: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Smallest fraction of the usual number of observations; fewer is degraded.",
    )
    usual_cycles: int = Field(20, ge=1, description="Cycles whose median is the usual number.")
    increment_sigmas: float = Field(
        4.0,
        gt=0,
        description="Largest rms of an increment, in background-error standard deviations.",
    )
    dry_mass_hpa: float = Field(
        2.0,
        gt=0,
        description="Largest change of the global mean pressure of dry air [hPa]; a limited area "
        "has no such limit.",
    )
    hydrostatic_excess: float = Field(
        2.0,
        gt=0,
        description="Largest departure from hydrostatic balance (rms), over the background's.",
    )
    withheld_ratio: float = Field(
        1.2,
        gt=0,
        description="Largest rms of O-A over that of O-B at withheld stations (from 30 on).",
    )
    verdict: Literal["ok", "suspect"] = Field(
        "suspect", description="Worst verdict of the analysis that may still be published."
    )


class RetentionSettings(Settings):
    """What is kept. Inputs of the user are never deleted."""

    cycles: int = Field(120, ge=2, description="Published cycles that are kept, the latest ones.")
    rejected: int = Field(20, ge=0, description="Rejected cycles that are kept.")
    bytes: ByteSize | None = Field(
        None, description="Most that published cycles may take, such as 50GB; none: no limit."
    )


class CycleSettings(Settings):
    """``phyda cycle run``."""

    command = "cycle"
    prefix = "PHYDA_CYCLE_"

    folder: Path = Field(description="Where published cycles, events and the lock are.")
    every_hours: int = Field(6, ge=1, le=24, description="Hours between two analyses.")
    first: datetime = Field(description="Time of the first analysis, such as 2020-10-01T06:00.")
    observations: tuple[ObservationSource, ...] = Field(
        min_length=1, description="Streams of observations."
    )
    background: tuple[BackgroundSource, ...] = Field(
        min_length=1, description="Ways to a background, in the order in which they are tried."
    )
    policy: Literal["strict", "degrade", "background_only"] = Field(
        "degrade",
        description="When inputs are late or missing: stop; go on with what is there; or publish "
        "the background itself when there is no observation.",
    )
    cutoff_minutes: float = Field(
        180.0, ge=0, description="How long after its time a cycle waits for its inputs [min]."
    )
    settle_seconds: float = Field(
        20.0,
        ge=0,
        description="A file counts as complete when its size stays the same for so long [s].",
    )
    catch_up: Literal["in_order", "newest"] = Field(
        "in_order", description="After an outage make every missed analysis, or only the newest."
    )
    late: Literal["ignore", "replace"] = Field(
        "ignore",
        description="What happens to the last published cycle when more observations arrive for it "
        "before its cut-off.",
    )
    remember: bool = Field(
        True,
        description="Whether an analysis gets the feedback of the cycle before it (--previous), "
        "for its memory of biased stations and of reports that are used already.",
    )
    allow_checkpoint_change: bool = Field(
        True,
        description="Whether a cycle goes on when the model is another than the cycle before's.",
    )
    minutes: float = Field(30.0, gt=0, description="Longest time that one analysis may take [min].")
    memory: ByteSize | None = Field(
        None, description="Most memory of one analysis, such as 8GB; none: no limit."
    )
    arguments: tuple[str, ...] = Field(
        (),
        description="Further words of phyda assimilate, such as --method, oi. Paths are absolute.",
    )
    analysis: Path | None = Field(
        None, description="Settings of the analysis, as for phyda assimilate --config."
    )
    gates: GateSettings = Field(default_factory=GateSettings, description="Gates.")
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="Retention."
    )

    @field_validator("first")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if value != value.replace(minute=0, second=0, microsecond=0):
            raise ValueError(f"expected a whole hour, got {value.isoformat()}")
        return value

    @field_validator("every_hours")
    @classmethod
    def _divides_a_day(cls, value: int) -> int:
        if 24 % value:
            raise ValueError(f"expected hours that divide a day, got {value}")
        return value

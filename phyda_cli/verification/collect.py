"""One pass over analyses with their truth, background and feedback: sums, a history, stations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.formats.by_time import FieldsByTime, span_of
from phyda_cli.formats.inputs import FieldInput, attributes_of, name_of, valid_times
from phyda_cli.observations.feedback import read_feedback, refuse_csv
from phyda_cli.observations.read.read import ObservationInput, TextTables, read_observations
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.analysis_file import read_analysis
from phyda_cli.verification.collected import Case, Collected

__all__ = [
    "FeedbackInput",
    "Inputs",
    "attributes_of",
    "collect",
    "feedback_by_time",
    "is_feedback",
]


_FARTHEST = np.timedelta64(90, "m")

FeedbackInput: TypeAlias = Path | pd.DataFrame
"""A file, or its rows in memory."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Files of one run, or data in memory: ``backgrounds`` replace what the analyses' own
    increments imply."""

    analyses: Sequence[FieldInput] = ()
    truths: Sequence[FieldInput] = ()
    backgrounds: Sequence[FieldInput] = ()
    feedbacks: Sequence[FeedbackInput] = ()
    observations: Sequence[ObservationInput] = ()
    tables: TextTables = field(default_factory=TextTables)
    time: np.datetime64 | None = None


def collect(
    inputs: Inputs,
    settings: VerificationSettings,
    controls: QualityControlSettings | None = None,
    physics: bool = False,
) -> Collected:
    """Compare every analysis with the truth and feedback of its time, one in memory at a time; with
    ``physics`` how physical each is stands in the series.

    Raises InputError when two analyses have one time, when no time is common, or when grids differ
    and ``settings.regrid`` is off.
    """
    for path in inputs.feedbacks:
        if isinstance(path, Path):
            refuse_csv(path)
    found = Collected()
    alone = len(inputs.analyses) == 1
    truths = FieldsByTime("truth", inputs.truths, alone)
    backgrounds = FieldsByTime("background", inputs.backgrounds, alone)
    feedbacks = _feedback_index(inputs.feedbacks, inputs.analyses)
    observations = _observations(inputs)
    unmatched: list[np.datetime64] = []
    analyses = list(_analyses(inputs))
    times = [time for _, time in analyses if time is not None]
    for path, time in analyses:
        file = read_analysis(path, time)
        valid = file.fields.time
        truth = truths.at(valid)
        rows = _feedback_of(path, valid, feedbacks, [*times, valid], alone)
        if truths and truth is None:
            unmatched.append(valid)
            if rows is None and observations is None:
                continue
        background = backgrounds.at(valid) if backgrounds else file.background
        case = Case(
            name_of(path).name,
            valid,
            file,
            background,
            truth,
            rows,
            observations,
            attributes_of(path) or _of_its_feedback(inputs),
        )
        # the residuals of one series are all over the truth's, or all over the background's
        found.add(case, settings, controls, physics and (truth is not None or not truths))
    for path in _alone(inputs):
        rows = read_feedback(path)
        case = Case(name_of(path).name, _middle(rows), rows=rows, attributes=attributes_of(path))
        found.add(case, settings)
    _check_times(truths, unmatched, found)
    found.moments.sort(key=lambda m: m.time)
    return found


def _of_its_feedback(inputs: Inputs) -> Mapping[str, Any]:
    """What the feedback of the one analysis says of it, which GRIB cannot hold."""
    one = len(inputs.analyses) == len(inputs.feedbacks) == 1
    return attributes_of(inputs.feedbacks[0]) if one else {}


def _observations(inputs: Inputs) -> pd.DataFrame | None:
    if not inputs.observations:
        return None
    return read_observations(inputs.observations, inputs.tables).table


def _alone(inputs: Inputs) -> Sequence[FeedbackInput]:
    """Feedback files, where no analysis was given with them."""
    return () if inputs.analyses else inputs.feedbacks


def is_feedback(path: Path) -> bool:
    """Whether a NetCDF file is one of observations."""
    try:
        return attributes_of(path).get("featureType") == "point"
    except InputError:  # its reader knows what to say
        return False


def _analyses(inputs: Inputs) -> Iterator[tuple[FieldInput, np.datetime64 | None]]:
    """Every analysis with the time to read; one file alone keeps its reader's own rules."""
    if len(inputs.analyses) == 1 or inputs.time is not None:
        yield from ((path, inputs.time) for path in inputs.analyses)
        return
    for path in inputs.analyses:
        valid = valid_times(path)
        yield from ((path, time) for time in (valid if valid.size else [None]))


def _check_times(
    truths: FieldsByTime, unmatched: Sequence[np.datetime64], found: Collected
) -> None:
    if not unmatched:
        return
    if not any(key.source == "fields" for key in found.sums.rows):
        raise InputError(
            f"the truth has no time of the analyses: they are of {span_of(unmatched)}, the truth "
            f"of {truths.span}",
            hint="give a truth that is valid when the analyses are",
        )
    found.note(f"{len(unmatched)} analyses have no truth of their time: {span_of(unmatched)}")


@dataclass(frozen=True, eq=False)
class _Feedback:
    """A feedback file, and what it says it was made from."""

    source: FeedbackInput
    inputs: str

    @cached_property
    def middle(self) -> np.datetime64:
        """The time of its analysis, by its observations."""
        return _middle(read_feedback(self.source))


def _feedback_index(
    feedbacks: Sequence[FeedbackInput], analyses: Sequence[FieldInput]
) -> list[_Feedback]:
    """The feedback files; those made from the same inputs as one of ``analyses`` are its own."""
    known = {_inputs_of(path) for path in analyses}
    found = [_Feedback(source, _inputs_of(source)) for source in feedbacks]
    return [f if f.inputs in known else replace(f, inputs="") for f in found]


def _inputs_of(source: FieldInput | FeedbackInput) -> str:
    """The fingerprint of what an output was made from, empty where it has none."""
    return str(attributes_of(source).get("phyda_inputs", ""))


def _feedback_of(
    path: FieldInput,
    valid: np.datetime64,
    feedbacks: Sequence[_Feedback],
    times: Sequence[np.datetime64],
    alone: bool,
) -> pd.DataFrame | None:
    """The feedback of an analysis: made from the same inputs, else the one nearest in time, of
    those that are nearest to this analysis among all ``times``."""
    if alone and len(feedbacks) == 1:
        return read_feedback(feedbacks[0].source)
    own = _inputs_of(path)
    for candidate in feedbacks:
        if own and own == candidate.inputs:
            return read_feedback(candidate.source)
    near = [
        (abs(f.middle - valid), number)
        for number, f in enumerate(feedbacks)
        if not f.inputs and valid == min(times, key=lambda t: (abs(t - f.middle), t))
    ]
    distance, number = min(near, default=(_FARTHEST, -1))
    if number < 0 or distance > _FARTHEST:
        return None
    return read_feedback(feedbacks[number].source)


def _middle(rows: pd.DataFrame) -> np.datetime64:
    """The middle of the observations' times that were used, to the hour."""
    used = rows[rows["EffectiveQC"] <= QC.PASSIVE]["time"]
    times = used if len(used) else rows["time"].dropna()
    if not len(times):
        raise InputError("a feedback file has no observation with a time")
    middle = times.min() + (times.max() - times.min()) / 2
    return np.datetime64(middle.round("h").to_datetime64())


def feedback_by_time(paths: Sequence[Path]) -> list[tuple[np.datetime64, pd.DataFrame]]:
    """Every feedback file's rows with the time of its analysis. Raises InputError."""
    tables = [read_feedback(path) for path in paths]
    return [(_middle(rows), rows) for rows in tables]

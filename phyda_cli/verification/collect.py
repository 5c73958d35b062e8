"""One pass over analyses with their truth, background and feedback: sums, a history, stations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.formats.inputs import attributes_of, valid_times
from phyda_cli.observations.departures import as_used
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.groups import layers
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.analysis_file import AnalysisFile, read_analysis
from phyda_cli.verification.channels import coarser, nested
from phyda_cli.verification.field_sums import add_fields
from phyda_cli.verification.history import Moment, moment_of
from phyda_cli.verification.observation_sums import (
    add_observations,
    at_observations,
    independence_of,
    table_of_feedback,
    type_of,
)
from phyda_cli.verification.regions import region_masks
from phyda_cli.verification.station_health import StationHistory
from phyda_cli.verification.sums import Sums

__all__ = [
    "Collected",
    "Inputs",
    "attributes_of",
    "collect",
    "feedback_by_time",
    "is_feedback",
    "time_label",
]


@dataclass(frozen=True)
class Inputs:
    """Files of one run: ``backgrounds`` replace what the analyses' own increments imply."""

    analyses: Sequence[Path] = ()
    truths: Sequence[Path] = ()
    backgrounds: Sequence[Path] = ()
    feedbacks: Sequence[Path] = ()
    observations: Sequence[Path] = ()
    obs_map: Path | None = None
    time: np.datetime64 | None = None
    decimal: str | None = None


@dataclass(eq=False)
class Collected:
    """What a pass has found. ``last`` is the latest analysis with its first guess, truth and
    feedback rows; ``attributes`` are its global ones; ``notes`` say what was left out."""

    sums: Sums = field(default_factory=Sums)
    moments: list[Moment] = field(default_factory=list)
    stations: StationHistory = field(default_factory=StationHistory)
    last: AnalysisFile | None = None
    background: Fields | None = None
    truth: Fields | None = None
    rows: pd.DataFrame | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say ``text`` once."""
        if text not in self.notes:
            self.notes.append(text)


def time_label(time: np.datetime64, by: str) -> str | None:
    """The group of ``time`` for ``by`` hour, day or month; None for other groupings."""
    if by == "hour":
        return f"{np.datetime_as_string(time, unit='h')[-2:]}Z"
    if by in ("day", "month"):
        return str(np.datetime_as_string(time, unit="D" if by == "day" else "M"))
    return None


def collect(
    inputs: Inputs,
    settings: VerificationSettings,
    controls: QualityControlSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Compare every analysis with the truth and feedback of its time, one in memory at a time.

    Raises InputError when two analyses have one time, when no time is common, or when grids differ
    and ``settings.regrid`` is off.
    """
    found = Collected()
    alone = len(inputs.analyses) == 1
    truths = _Index("truth", inputs.truths, alone)
    backgrounds = _Index("background", inputs.backgrounds, alone)
    feedbacks = _feedback_index(inputs.feedbacks)
    unmatched: list[np.datetime64] = []
    masks: dict[tuple[int, ...], dict[str, np.ndarray]] = {}
    for path, time in _analyses(inputs):
        file = read_analysis(path, time)
        valid = file.fields.time
        label = np.datetime_as_string(valid, unit="m")
        progress(f"{label}Z {path.name}")
        truth = truths.at(valid)
        rows = _feedback_of(path, valid, feedbacks, alone)
        if truths and truth is None:
            unmatched.append(valid)
            if rows is None and not inputs.observations:
                continue
        seconds = int(valid.astype("datetime64[s]").astype(np.int64))
        found.sums.note_time(seconds, path.name)
        background = backgrounds.at(valid) if backgrounds else file.background
        groups = ["", *filter(None, [time_label(valid, settings.by)])]
        if truth is not None:
            _check_grids(file.fields, truth, settings.regrid, found)
            key = (*file.fields.grid.shape, *truth.grid.shape)
            if key not in masks:
                grid = coarser(file.fields.grid, truth.grid)
                masks[key] = region_masks(file.fields, grid, settings.box)
            add_fields(
                found.sums,
                file.fields,
                truth,
                background,
                file.spread,
                file.members,
                masks[key],
                groups,
                settings.truth_is,
                seconds,
            )
        if rows is not None:
            _add_feedback(found, file, rows, settings, seconds)
            found.stations.add(valid, rows)
        if inputs.observations:
            _add_given(found, file, background, rows, inputs, settings, controls, seconds)
        moment = moment_of(file, background, rows, attributes=attributes_of(path))
        found.moments.append(moment)
        if found.last is None or valid >= found.last.fields.time:
            found.last, found.background, found.truth, found.rows = file, background, truth, rows
            found.attributes = attributes_of(path)
    for path in _alone(inputs, feedbacks):
        rows = read_feedback(path)
        valid = _middle(rows)
        found.sums.note_time(int(valid.astype("datetime64[s]").astype(np.int64)), path.name)
        _add_feedback(found, None, rows, settings, int(valid.astype("datetime64[s]").astype(int)))
        found.stations.add(valid, rows)
        found.moments.append(moment_of(None, None, rows, valid, attributes_of(path)))
        found.rows, found.attributes = rows, attributes_of(path)
    _check_times(truths, unmatched, found)
    found.moments.sort(key=lambda m: m.time)
    return found


def _alone(inputs: Inputs, feedbacks: Mapping[Path, str]) -> list[Path]:
    """Feedback files, where no analysis was given with them."""
    return [] if inputs.analyses else list(feedbacks)


def is_feedback(path: Path) -> bool:
    """Whether a NetCDF file is one of observations."""
    try:
        return attributes_of(path).get("featureType") == "point"
    except InputError:  # its reader knows what to say
        return False


def _analyses(inputs: Inputs) -> Iterator[tuple[Path, np.datetime64 | None]]:
    """Every analysis with the time to read; one file alone keeps its reader's own rules."""
    if len(inputs.analyses) == 1 or inputs.time is not None:
        yield from ((path, inputs.time) for path in inputs.analyses)
        return
    for path in inputs.analyses:
        valid = valid_times(path)
        yield from ((path, time) for time in (valid if valid.size else [None]))


class _Index:
    """Fields of several files by valid time; with one file for one analysis, as its reader finds
    them, whose errors then say what the file has."""

    def __init__(self, name: str, paths: Sequence[Path], alone: bool) -> None:
        self.name, self.paths = name, list(paths)
        self.times: dict[np.datetime64, Path] = {}
        if alone and len(paths) == 1:
            return
        if len(paths) > 1:
            for path in paths:
                for time in valid_times(path):
                    if time in self.times:
                        raise InputError(
                            f"{self.times[time]} and {path} both hold the {name} of "
                            f"{np.datetime_as_string(time, unit='m')}Z",
                            hint="give each time once",
                        )
                    self.times[time] = path
        elif paths:
            self.times = dict.fromkeys(valid_times(paths[0]), paths[0])

    def __bool__(self) -> bool:
        return bool(self.paths)

    def at(self, time: np.datetime64) -> Fields | None:
        """The fields of ``time``, None where no file has it. A file that states no time is read as
        valid at any."""
        path = self.times.get(time)
        if path is None and len(self.paths) == 1 and not self.times:
            path = self.paths[0]
        return None if path is None else read_background(path, time).fields

    @property
    def span(self) -> str:
        """First and last time."""
        return _span(list(self.times))


def _span(times: Sequence[np.datetime64]) -> str:
    if not times:
        return "no time"
    first, last = (np.datetime_as_string(t, unit="m") + "Z" for t in (min(times), max(times)))
    return first if first == last else f"{first} to {last}"


def _check_times(truths: _Index, unmatched: Sequence[np.datetime64], found: Collected) -> None:
    if not unmatched:
        return
    if not any(key.source == "fields" for key in found.sums.rows):
        raise InputError(
            f"the truth has no time of the analyses: they are of {_span(unmatched)}, the truth "
            f"of {truths.span}",
            hint="give a truth that is valid when the analyses are",
        )
    found.note(f"{len(unmatched)} analyses have no truth of their time: {_span(unmatched)}")


def _check_grids(analysis: Fields, truth: Fields, regrid: bool, found: Collected) -> None:
    grid = coarser(analysis.grid, truth.grid)
    other = truth.grid if grid is analysis.grid else analysis.grid
    if nested(other, grid) or nested(grid, other):
        return
    shapes = [f"{g.shape[1]}x{g.shape[0]}" for g in (analysis.grid, truth.grid)]
    said = f"the analysis is on {shapes[0]} points, the truth on {shapes[1]} others"
    if not regrid:
        raise InputError(
            said, hint="add --regrid to interpolate both to the coarser of the two grids"
        )
    found.note(f"{said}: both were taken to {grid.shape[1]}x{grid.shape[0]}")


def _feedback_index(paths: Sequence[Path]) -> dict[Path, str]:
    """What each feedback file says it was made from."""
    return {path: str(attributes_of(path).get("phyda_inputs", "")) for path in paths}


def _feedback_of(
    path: Path, valid: np.datetime64, feedbacks: Mapping[Path, str], alone: bool
) -> pd.DataFrame | None:
    """The feedback of an analysis: made from the same inputs, else of the same time."""
    if not feedbacks:
        return None
    if alone and len(feedbacks) == 1:
        return read_feedback(next(iter(feedbacks)))
    own = str(attributes_of(path).get("phyda_inputs", ""))
    for candidate, inputs in feedbacks.items():
        if own and own == inputs:
            return read_feedback(candidate)
    for candidate in feedbacks:
        rows = read_feedback(candidate)
        if abs(_middle(rows) - valid) <= np.timedelta64(90, "m"):
            return rows
    return None


def _middle(rows: pd.DataFrame) -> np.datetime64:
    """The middle of the observations' times that were used, to the hour."""
    used = rows[rows["EffectiveQC"] <= QC.PASSIVE]["time"]
    times = used if len(used) else rows["time"].dropna()
    if not len(times):
        raise InputError("a feedback file has no observation with a time")
    middle = times.min() + (times.max() - times.min()) / 2
    return np.datetime64(middle.round("h").to_datetime64())


def _labels(table: pd.DataFrame, time: np.datetime64 | None, by: str) -> list[np.ndarray | str]:
    """The further groups of rows for ``by``."""
    if by == "station":
        return [table["station_id"].to_numpy(object)]
    if by == "type":
        return [type_of(table)]
    if by == "level":
        return [np.array([str(x).partition("\0")[2] for x in layers(table)], object)]
    label = None if time is None else time_label(time, by)
    return [] if label is None else [label]


def _add_feedback(
    found: Collected,
    file: AnalysisFile | None,
    rows: pd.DataFrame,
    settings: VerificationSettings,
    seconds: int,
) -> None:
    rows = as_used(rows)
    table = table_of_feedback(rows)
    distribution = None
    if file is not None and (file.spread is not None or len(file.members) > 1):
        distribution = at_observations(table, file.fields, file.spread, file.members)
    time = np.datetime64(seconds, "s")
    add_observations(
        found.sums,
        table,
        -rows["oman"].to_numpy(float),
        -rows["ombg"].to_numpy(float),
        independence_of(rows["EffectiveQC"].to_numpy()),
        _labels(table, time, settings.by),
        rows["hofx0_error"].to_numpy(float),
        distribution,
        rows["innovation"].to_numpy(float),
        settings.box,
        seconds,
        settings.seed,
    )


def _add_given(
    found: Collected,
    file: AnalysisFile,
    background: Fields | None,
    rows: pd.DataFrame | None,
    inputs: Inputs,
    settings: VerificationSettings,
    controls: QualityControlSettings | None,
    seconds: int,
) -> None:
    """Add observations that were given as such; those that the feedback has used are ``used``."""
    from phyda_cli.verification.stations import compared

    base = controls or QualityControlSettings()
    table = prepare(
        read_observations(inputs.observations, inputs.obs_map, decimal=inputs.decimal).table,
        file.fields,
        settings=base.model_copy(update={"repeats": "all"}),
    )
    both = compared(table, file.fields, background)
    table = both.table
    a = both.after - table["value"].to_numpy()
    b = None if both.before is None else both.before - table["value"].to_numpy()
    kind = _as_in_feedback(table, rows)
    add_observations(
        found.sums,
        table,
        a,
        b,
        kind,
        _labels(table, np.datetime64(seconds, "s"), settings.by),
        None,
        at_observations(table, file.fields, file.spread, file.members),
        None,
        settings.box,
        seconds,
        settings.seed,
    )


def _as_in_feedback(table: pd.DataFrame, rows: pd.DataFrame | None) -> np.ndarray:
    """``used`` or ``withheld`` (P,) where the feedback has a row of the same station, variable and
    time, else ``unknown``."""
    kind = np.full(len(table), "unknown", object)
    if rows is None:
        return kind
    names = ["station_id", "variable", "time"]
    best = rows.groupby(names)["EffectiveQC"].min()
    codes = pd.MultiIndex.from_frame(table[names]).map(best.to_dict()).to_numpy(float)
    kind[codes == QC.PASSIVE] = "withheld"
    kind[codes == QC.PASS] = "used"
    return kind


def feedback_by_time(paths: Sequence[Path]) -> list[tuple[np.datetime64, pd.DataFrame]]:
    """Every feedback file's rows with the time of its analysis. Raises InputError."""
    tables = [read_feedback(path) for path in paths]
    return [(_middle(rows), rows) for rows in tables]

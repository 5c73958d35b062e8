"""What a pass over analyses keeps, and how one of them is added to it: in memory, without files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.departures import as_used
from phyda_cli.observations.groups import layers
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.channels import coarser, nested
from phyda_cli.verification.field_sums import add_fields
from phyda_cli.verification.history import Moment, moment_of, physical_ratios
from phyda_cli.verification.observation_sums import (
    add_observations,
    at_observations,
    independence_of,
    table_of_feedback,
    type_of,
)
from phyda_cli.verification.regions import region_masks
from phyda_cli.verification.station_health import StationHistory
from phyda_cli.verification.stations import compared
from phyda_cli.verification.sums import Sums

__all__ = ["Case", "Collected", "time_label"]


@dataclass(frozen=True, eq=False)
class Case:
    """One analysis and what it is compared with: its first guess, the truth of its time, the rows
    of its feedback, and a table of other observations. A feedback may come without its analysis.

    ``name`` is the file's; ``attributes`` are the analysis's global ones.
    """

    name: str
    time: np.datetime64
    file: AnalysisFile | None = None
    background: Fields | None = None
    truth: Fields | None = None
    rows: pd.DataFrame | None = None
    observations: pd.DataFrame | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """The valid time since 1970."""
        return int(self.time.astype("datetime64[s]").astype(np.int64))


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
    masks: dict[tuple[int, ...], dict[str, np.ndarray]] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Say ``text`` once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(
        self,
        case: Case,
        settings: VerificationSettings,
        controls: QualityControlSettings | None = None,
        physics: bool = False,
    ) -> None:
        """Add one analysis; with ``physics`` its residuals stand in the series too.

        Raises InputError when its time has been counted, or when grids differ and
        ``settings.regrid`` is off.
        """
        self.sums.note_time(case.seconds, case.name)
        ratios: dict[str, float | None] = {}
        if case.file is not None and case.truth is not None:
            _add_truth(self, case, settings)
        if case.rows is not None:
            _add_feedback(self, case, settings)
            self.stations.add(case.time, case.rows)
        if case.file is not None and case.observations is not None:
            _add_given(self, case, settings, controls or QualityControlSettings())
        if case.file is not None and physics:
            try:
                ratios = physical_ratios(case.file.fields, case.background, case.truth)
            except InputError as error:
                self.note(f"physics: {error.message}")
        self.moments.append(
            moment_of(case.file, case.background, case.rows, case.time, case.attributes, ratios)
        )
        if len(self.moments) == 1 or case.time >= max(m.time for m in self.moments):
            self.last, self.background, self.truth = case.file, case.background, case.truth
            self.rows, self.attributes = case.rows, case.attributes


def time_label(time: np.datetime64, by: str) -> str | None:
    """The group of ``time`` for ``by`` hour, day or month; None for other groupings."""
    if by == "hour":
        return f"{np.datetime_as_string(time, unit='h')[-2:]}Z"
    if by in ("day", "month"):
        return str(np.datetime_as_string(time, unit="D" if by == "day" else "M"))
    return None


def _add_truth(found: Collected, case: Case, settings: VerificationSettings) -> None:
    file, truth = case.file, case.truth
    assert file is not None
    assert truth is not None
    _check_grids(file.fields, truth, settings.regrid, found)
    key = (*file.fields.grid.shape, *truth.grid.shape)
    if key not in found.masks:
        grid = coarser(file.fields.grid, truth.grid)
        found.masks[key] = region_masks(file.fields, grid, settings.box)
    add_fields(
        found.sums,
        file.fields,
        truth,
        case.background,
        file.spread,
        file.members,
        found.masks[key],
        ["", *filter(None, [time_label(case.time, settings.by)])],
        settings.truth_is,
        case.seconds,
    )


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


def _labels(table: pd.DataFrame, time: np.datetime64, by: str) -> list[np.ndarray | str]:
    """The further groups of rows for ``by``."""
    if by == "station":
        return [table["station_id"].to_numpy(object)]
    if by == "type":
        return [type_of(table)]
    if by == "level":
        return [np.array([str(x).partition("\0")[2] for x in layers(table)], object)]
    label = time_label(time, by)
    return [] if label is None else [label]


def _add_feedback(found: Collected, case: Case, settings: VerificationSettings) -> None:
    assert case.rows is not None
    rows, file = as_used(case.rows), case.file
    table = table_of_feedback(rows)
    distribution = None
    if file is not None and (file.spread is not None or len(file.members) > 1):
        distribution = at_observations(table, file.fields, file.spread, file.members)
    add_observations(
        found.sums,
        table,
        -rows["oman"].to_numpy(float),
        -rows["ombg"].to_numpy(float),
        independence_of(rows["EffectiveQC"].to_numpy()),
        _labels(table, case.time, settings.by),
        rows["hofx0_error"].to_numpy(float),
        distribution,
        rows["innovation"].to_numpy(float),
        settings.box,
        case.seconds,
        settings.seed,
    )


def _add_given(
    found: Collected, case: Case, settings: VerificationSettings, controls: QualityControlSettings
) -> None:
    """Add observations that were given as such; those that the feedback has used are ``used``."""
    file = case.file
    assert file is not None
    assert case.observations is not None
    every = controls.model_copy(update={"repeats": "all"})
    both = compared(
        prepare(case.observations, file.fields, settings=every), file.fields, case.background
    )
    table = both.table
    value = table["value"].to_numpy()
    add_observations(
        found.sums,
        table,
        both.after - value,
        None if both.before is None else both.before - value,
        _as_in_feedback(table, case.rows),
        _labels(table, case.time, settings.by),
        None,
        at_observations(table, file.fields, file.spread, file.members),
        None,
        settings.box,
        case.seconds,
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

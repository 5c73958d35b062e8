"""An observing-system simulation experiment: what would an observing network give?

A truth is known at several times, and so is a background for each. The reports that a network would
make of the truth are simulated and assimilated, and the analysis is compared with the truth at
every point. Another network may do the same beside it; a station that both have makes the same
errors in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from phyda_cli.analysis.assimilate import Request, assimilate
from phyda_cli.errors import GateError, InputError, NoObservationsError, PhydaError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.by_time import FieldsByTime, span_of
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.surface_air import with_specific_humidity
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.simulation.network_file import ObservingNetwork
from phyda_cli.simulation.simulated_reports import SimulatedReports, simulate_reports
from phyda_cli.verification.channels import coarser, nested
from phyda_cli.verification.field_sums import add_fields
from phyda_cli.verification.regions import region_masks
from phyda_cli.verification.sums import Sums

__all__ = ["Experiment", "Outcome", "run_osse"]

PERSISTENCE = np.timedelta64(24, "h")
TRUTH_IS = "withheld"  # from the analysis, which sees simulated reports of it alone


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """What to find out. ``networks`` go by the names that scores have; without ``backgrounds`` the
    truth of a day before is the background. ``request`` holds what all analyses have in common.
    Each date is analysed ``repeats`` times with other errors of the reports: the seeds of the first
    are those of ``settings``, and every further repeat adds one to them."""

    truths: FieldsByTime
    backgrounds: FieldsByTime | None
    networks: Mapping[str, ObservingNetwork]
    request: Request
    settings: AnalysisSettings
    repeats: int = 1

    def times(self) -> list[np.datetime64]:
        """The dates that have a truth and a background. Raises InputError where none has."""
        truths = self.truths.times
        if self.backgrounds is None:
            found = [t for t in truths if t - PERSISTENCE in truths]
            other = "time of a day before"
        else:
            found = [t for t in truths if t in self.backgrounds.times]
            other = f"time of the background, which holds {self.backgrounds.span}"
        if not found:
            raise InputError(
                f"the truth has no {other}: it holds {self.truths.span}",
                hint="give a background that is valid when the truth is",
            )
        return sorted(found)

    def analysis_of(self, time: np.datetime64) -> Request:
        """The request for the analysis of ``time``, still without observations."""
        if self.backgrounds is not None:
            return replace(self.request, background=self.backgrounds.times[time], time=time)
        before = time - PERSISTENCE
        return replace(
            self.request, background=self.truths.times[before], time=before, valid_time=time
        )


@dataclass(eq=False)
class Outcome:
    """Sums of scores of each network over its dates and repeats. ``reports`` are those of the first
    date and repeat; ``counts`` the numbers of observations of every analysis. ``skipped`` dates
    could not be analysed, for the reason given. ``verdicts`` counts those of the analyses, and
    ``remarks`` is what the first of them noted."""

    dates: list[np.datetime64] = field(default_factory=list)
    sums: dict[str, Sums] = field(default_factory=dict)
    reports: dict[str, SimulatedReports] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    skipped: dict[np.datetime64, str] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say ``text`` once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, date: Outcome) -> None:
        """Add that of another date."""
        self.dates += date.dates
        self.verdicts += date.verdicts
        self.remarks = self.remarks or date.remarks
        for text in date.notes:
            self.note(text)
        for name, sums in date.sums.items():
            self.sums.setdefault(name, Sums()).merge(sums)
            self.reports.setdefault(name, date.reports[name])
            self.counts.setdefault(name, []).extend(date.counts[name])


def run_osse(experiment: Experiment, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run the experiment; ``tell`` gets a line for each date.

    A date without an analysis, for want of usable reports or because a gate refuses it, is left out
    and named. Raises InputError where truth and background have no time in common, and the error of
    the last date where no date could be analysed.
    """
    checkpoint = Checkpoint.open(experiment.request.checkpoint)
    found, masks = Outcome(), _Masks()
    times = experiment.times()
    lacking = sorted(set(experiment.truths.times) - set(times))
    if lacking and experiment.backgrounds is not None:
        found.note(f"{len(lacking)} times of the truth have no background: {span_of(lacking)}")
    if experiment.backgrounds is None:
        found.note("no background was given: it is the truth of 24 h before")
    failure: PhydaError | None = None
    for number, time in enumerate(times, 1):
        try:
            found.add(_date(experiment, checkpoint, time, masks))
        except (NoObservationsError, GateError) as error:
            failure = error
            found.skipped[time] = error.message
        tell(f"{np.datetime_as_string(time, unit='m')}Z ({number} of {len(times)})")
    if not found.dates and failure is not None:
        raise failure
    return found


def _date(
    experiment: Experiment, checkpoint: Checkpoint, time: np.datetime64, masks: _Masks
) -> Outcome:
    """What every network and repeat gives at one date."""
    truth = experiment.truths.at(time)
    assert truth is not None
    truth = with_specific_humidity(truth)
    date = Outcome([time])
    for name, network in experiment.networks.items():
        sums = date.sums[name] = Sums()
        date.counts[name] = []
        for settings in _seeds(experiment):
            reports = simulate_reports(truth, network, checkpoint, settings.qc, settings.seed)
            request = replace(experiment.analysis_of(time), obs=[reports.table])
            result = assimilate(request, settings)
            analysis, background = result.analysis, result.background
            assert analysis is not None
            assert background is not None
            add_fields(
                sums,
                analysis.fields,
                truth,
                background.fields,
                analysis.spread if analysis.status == "ok" else None,
                masks=masks.of(analysis.fields, truth, date),
                independence=TRUTH_IS,
                time=int(time.astype("datetime64[s]").astype(np.int64)),
            )
            date.reports.setdefault(name, reports)
            date.counts[name].append(len(reports.table))
            date.remarks = date.remarks or result.report["notes"]
            date.verdicts[str(result.report["verdict"]["verdict"])] += 1
    return date


def _seeds(experiment: Experiment) -> Iterator[AnalysisSettings]:
    """The settings of each repeat."""
    for repeat in range(experiment.repeats):
        yield experiment.settings.model_copy(update={"seed": experiment.settings.seed + repeat})


class _Masks:
    """The regions of each grid that scores are on, looked for once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], dict[str, np.ndarray]] = {}

    def of(self, analysis: Fields, truth: Fields, found: Outcome) -> dict[str, np.ndarray]:
        """Those of the coarser of the two grids; a note says where they differ."""
        grid = coarser(analysis.grid, truth.grid)
        if grid.shape not in self._known:
            other = truth.grid if grid is analysis.grid else analysis.grid
            if not (nested(other, grid) or nested(grid, other)):
                size = f"{grid.shape[1]}x{grid.shape[0]}"
                found.note(f"truth and analysis are on different grids: scores are on {size}")
            self._known[grid.shape] = region_masks(analysis, grid)
        return self._known[grid.shape]

"""phyda in Python: what the commands do, with data sets and tables in memory as well as files.

    import phyda_cli as phyda

    a = phyda.assimilate(background="fc.nc", observations="stations.csv", method="oi")
    a.increment["t2m"].plot()
    phyda.verify(a, truth="era5.nc").scores

Nothing is printed and no file is written. Errors are those of :mod:`phyda_cli.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from phyda_cli.analysis.assimilate import Request
from phyda_cli.analysis.assimilate import assimilate as run
from phyda_cli.analysis.own_operators import OwnOperator
from phyda_cli.errors import UsageError
from phyda_cli.formats.write import analysis_dataset
from phyda_cli.model.checkpoint import BUNDLED
from phyda_cli.observations.files import expand
from phyda_cli.observations.read.read import TextTables
from phyda_cli.observations.read.read import read_observations as read
from phyda_cli.observations.report import told_once
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import Given, Settings, given_in, resolve
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.collect import FeedbackInput, Inputs
from phyda_cli.verification.examine import Examination, examine
from phyda_cli.verification.report import write_report

__all__ = ["Analysis", "Verification", "assimilate", "read_observations", "verify"]

Fields: TypeAlias = str | Path | xr.Dataset
"""A file (or a pattern such as ``ens/*.nc``), or a data set in memory."""
Observations: TypeAlias = str | Path | pd.DataFrame
"""A file of any kind (or a pattern), or a table with the columns of such a CSV file."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """What :func:`assimilate` returns.

    ``dataset`` is what ``phyda assimilate --out`` writes: the background's variables, analysed, and
    beside each ``X_increment``, ``X_spread`` and ``X_members``. ``feedback`` has a row for each
    observation, with its fate (``EffectiveQC``) and departures (``ombg``, ``oman``); ``report`` is
    what ``phyda assimilate --json`` prints.
    """

    dataset: xr.Dataset
    feedback: pd.DataFrame
    report: dict[str, Any] = field(repr=False)

    @property
    def verdict(self) -> str:
        """``ok``, ``suspect`` or ``background_only``; the reasons are in the report."""
        return str(self.report["verdict"]["verdict"])

    @property
    def analysis(self) -> xr.Dataset:
        """The analysed fields, and those of the background that were not analysed."""
        return self.dataset.drop_vars(
            [n for n in self.dataset.data_vars if str(n).endswith(_COMPANIONS)]
        ).drop_dims("realization", errors="ignore")

    @property
    def increment(self) -> xr.Dataset:
        """Analysis minus background, under the names of the fields."""
        return self._companion("_increment")

    @property
    def spread(self) -> xr.Dataset:
        """Standard deviation of the analysis's error; empty where nothing was analysed."""
        return self._companion("_spread")

    @property
    def members(self) -> xr.Dataset:
        """Members along ``realization``; empty unless they were asked for."""
        return self._companion("_members")

    def _companion(self, suffix: str) -> xr.Dataset:
        names = [str(n) for n in self.dataset.data_vars if str(n).endswith(suffix)]
        return self.dataset[names].rename({n: n.removesuffix(suffix) for n in names})


_COMPANIONS = ("_increment", "_spread", "_members")


@dataclass(frozen=True, eq=False)
class Verification:
    """What :func:`verify` returns.

    ``scores`` has a row for each number: what it is of (source, variable, level, region, group),
    how independent, of which state, its value, n, units and 95 % bounds. ``stations`` are all
    stations and variables of the feedback, the suspicious ones first.
    """

    scores: pd.DataFrame
    stations: pd.DataFrame
    headline: str
    notes: list[str]
    examination: Examination = field(repr=False)

    def scorecard(self) -> pd.DataFrame:
        """The comparison with the run ``against``, a row for each variable and level; empty without
        one."""
        card = self.examination.card
        return pd.DataFrame([] if card is None else [c.as_dict() for c in card.cells])

    def write_report(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the offline page (HTML) of ``phyda verify --report``. Raises OutputError."""
        write_report(Path(path), self.examination, overwrite=overwrite)


def assimilate(
    background: Fields | None = None,
    observations: Observations | Sequence[Observations] = (),
    *,
    ensemble: Fields | Sequence[Fields] = (),
    lagged: Fields | Sequence[Fields] = (),
    method: str | None = None,
    members: int | None = None,
    keep_members: bool = False,
    settings: AnalysisSettings | Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    obs_map: str | Path | None = None,
    time: Any = None,
    member: int | None = None,
    rename: Mapping[str, str] | None = None,
    operators: Mapping[str, str | Path] | Sequence[OwnOperator] = (),
    allow_no_obs: bool = False,
) -> Analysis:
    """Correct a forecast with observations, as ``phyda assimilate`` does.

    ``background`` may be left out where there is an ``ensemble``, whose mean it then is.
    ``lagged`` are forecasts of other starts that hold the valid time.
    ``method`` is phyda (the default), oi, letkf, hybrid, guidance or none. ``settings`` are those
    of ``phyda config show``, by name (``{"qc.window_hours": 1}``) or as an object. ``keep_members``
    returns each member too. ``operators`` are functions of the model's state and the valid time
    that return :class:`~phyda_cli.analysis.guided.UserObservations`, or files by the names of
    plug-ins. The other arguments are the options of the command.

    Raises UsageError for arguments that do not go together, InputError for what cannot be read,
    NoObservationsError when no observation can be used and not ``allow_no_obs``, GateError when the
    analysis is not plausible.
    """
    observed, doubled = _sources(observations, pd.DataFrame)
    plugged = operators if isinstance(operators, Mapping) else {}
    own = () if isinstance(operators, Mapping) else operators
    forecasts, more = _sources(ensemble, xr.Dataset)
    earlier, again = _sources(lagged, xr.Dataset)
    single = _sources(background, xr.Dataset)[0]
    if len(single) > 1:
        raise UsageError(f"background means {len(single)} files", hint="give one, or ensemble=")
    request = Request(
        obs=observed,
        background=single[0] if single else None,
        out=None,
        ensemble=forecasts,
        lagged=earlier,
        checkpoint=BUNDLED if checkpoint is None else Path(checkpoint),
        tables=_tables(obs_map),
        time=None if time is None else _time(time),
        member=member,
        rename=dict(rename or {}),
        operators={name: Path(path) for name, path in plugged.items()},
        allow_no_obs=allow_no_obs,
        save_members=keep_members,
    )
    named = {"method": method, "members": members}
    result = run(request, _settings(AnalysisSettings, settings, named), own=own)
    analysis, background_read = result.analysis, result.background
    assert analysis is not None  # nothing is up to date where nothing is written
    assert background_read is not None
    spread = analysis.spread if analysis.status == "ok" else None
    dataset = analysis_dataset(
        background_read,
        analysis.fields,
        analysis.increment,
        spread,
        analysis.members or None,
        result.attributes,
    )
    rows = analysis.feedback.frame()
    rows.attrs = result.attributes
    result.report["notes"] += [*doubled, *more, *again]
    decoded = xr.decode_cf(dataset, mask_and_scale=False, decode_timedelta=False)
    return Analysis(decoded, rows, result.report)


def verify(
    analyses: Analysis | Fields | Sequence[Analysis | Fields],
    *,
    truth: Fields | Sequence[Fields] = (),
    background: Fields | Sequence[Fields] = (),
    feedback: str | Path | pd.DataFrame | Sequence[str | Path | pd.DataFrame] = (),
    observations: Observations | Sequence[Observations] = (),
    against: Analysis | Fields | Sequence[Analysis | Fields] = (),
    against_feedback: str | Path | pd.DataFrame | Sequence[str | Path | pd.DataFrame] = (),
    by: str | None = None,
    physics: bool = False,
    obs_map: str | Path | None = None,
    settings: VerificationSettings | Mapping[str, Any] | None = None,
) -> Verification:
    """Score analyses against fields, observations and their own feedback, as ``phyda verify`` does.

    An :class:`Analysis` brings its feedback. ``by`` is hour, day, month, station, level or type;
    ``settings`` are those of ``phyda config show verify``; ``against`` is another run over the same
    times. Raises InputError for what cannot be read or compared, UsageError.
    """
    own = _run(analyses, feedback, truth, background, observations, obs_map)
    other = None
    if _listed(against) or _listed(against_feedback):
        other = _run(against, against_feedback, truth, background, observations, obs_map)
    chosen = _settings(VerificationSettings, settings, {"by": by})
    wanted: Literal["yes", "where possible"] = "yes" if physics else "where possible"
    found = examine(own, chosen, against=other, physics=wanted)
    return Verification(
        scores=pd.DataFrame([r.as_dict() for r in found.rows]),
        stations=pd.DataFrame([s.as_dict() for s in found.stations]),
        headline="\n".join(found.headline.lines),
        notes=list(found.collected.notes),
        examination=found,
    )


def read_observations(
    files: Observations | Sequence[Observations],
    *,
    obs_map: str | Path | None = None,
    strict: bool = False,
    decimal: str | None = None,
) -> pd.DataFrame:
    """Observations in files of any kind as one table in SI units, one row for each value, with the
    file and row that it came from; :func:`assimilate` takes it.

    ``attrs["notes"]`` says what was assumed or left out, ``attrs["problems"]`` which rows are bad
    (``qc`` above 1). Raises InputError for what cannot be read, and with ``strict`` for the first
    bad row.
    """
    found, doubled = _sources(files, pd.DataFrame)
    result = read(found, _tables(obs_map, decimal), strict)
    table = result.table
    table.attrs = {
        "notes": [*doubled, *told_once(result.notes)],
        "problems": [str(p) for p in result.problems],
    }
    return table


def _listed(given: Any) -> list[Any]:
    """One thing, several, or None as a list."""
    if given is None:
        return []
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return list(given) if several else [given]


def _sources(given: Any, kind: type) -> tuple[list[Any], list[str]]:
    """Files and patterns expanded, what lies in memory as it is, and files that are named twice.
    Raises UsageError for what is neither a file nor of ``kind``."""
    found: list[Any] = []
    doubled: list[str] = []
    for each in _listed(given):
        if isinstance(each, (str, Path)):
            files, warnings = expand([each])
            found += files
            doubled += warnings
        elif isinstance(each, kind):
            found.append(each)
        else:
            raise UsageError(
                f"expected a file or a {kind.__name__}, got a {type(each).__name__}",
                hint="a DataArray becomes a Dataset with to_dataset()",
            )
    return found, doubled


def _time(given: Any) -> np.datetime64:
    """A time as text, of the standard library, of numpy or of pandas; UTC."""
    try:
        return np.datetime64(str(given).removesuffix("Z").removesuffix("+00:00"), "s")
    except ValueError as error:
        raise UsageError(
            f"{given!r} is not a time", hint='for example "2020-10-01T06:00"'
        ) from error


def _tables(obs_map: str | Path | None, decimal: str | None = None) -> TextTables:
    maps = () if obs_map is None else (str(obs_map),)
    return TextTables(maps, () if decimal is None else (decimal,))


def _run(
    analyses: Any, feedback: Any, truth: Any, background: Any, observations: Any, obs_map: Any
) -> Inputs:
    """The inputs of one run; analyses bring their feedback."""
    given, own = _listed(analyses), [a for a in _listed(analyses) if isinstance(a, Analysis)]
    rows: list[FeedbackInput] = [*_sources(feedback, pd.DataFrame)[0], *(a.feedback for a in own)]
    fields = [a.dataset if isinstance(a, Analysis) else a for a in given]
    return Inputs(
        analyses=_sources(fields, xr.Dataset)[0],
        truths=_sources(truth, xr.Dataset)[0],
        backgrounds=_sources(background, xr.Dataset)[0],
        feedbacks=rows,
        observations=_sources(observations, pd.DataFrame)[0],
        tables=_tables(obs_map),
    )


def _settings(model: type[Any], given: Settings | Mapping[str, Any] | None, named: Any) -> Any:
    """Settings from an object or from names, with the arguments ``named`` on top."""
    if isinstance(given, Settings):
        given = given.model_dump(exclude_unset=True)
    stated = given_in(model, given or {}, "settings")
    stated |= {n: Given(v, f"{n}={v!r}") for n, v in named.items() if v is not None}
    return resolve(model, stated)

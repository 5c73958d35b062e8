"""What an assimilation is asked to do, and the forecasts it starts from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.analysis.analyse import FILTERS
from phyda_cli.analysis.departures import Forecasts
from phyda_cli.errors import UsageError
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.ensemble import member_labels, read_ensemble
from phyda_cli.model.checkpoint import BUNDLED
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["Request", "check_methods", "read_forecasts"]

ENSEMBLE_METHODS = (*FILTERS, "phyda")


@dataclass(frozen=True)
class Request:
    """What to assimilate and where to put it; ``None`` outputs are not written. Without
    ``background`` it is the mean of ``ensemble``."""

    obs: list[Path]
    background: Path | None
    out: Path | None
    feedback: Path | None = None
    ensemble: list[Path] = field(default_factory=list)
    checkpoint: Path = BUNDLED
    obs_map: Path | None = None
    withhold_file: Path | None = None
    blacklist: Path | None = None
    whitelist: Path | None = None
    time: np.datetime64 | None = None
    valid_time: np.datetime64 | None = None
    member: int | None = None
    rename: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    overwrite: bool = False
    allow_no_obs: bool = False
    save_members: bool = False

    @property
    def lists(self) -> tuple[Path | None, ...]:
        """The small files beside the observations."""
        return self.obs_map, self.withhold_file, self.blacklist, self.whitelist

    @property
    def fields(self) -> list[Path]:
        """The files that hold fields."""
        return [*([] if self.background is None else [self.background]), *self.ensemble]


def check_methods(request: Request, settings: AnalysisSettings) -> None:
    """Raise UsageError where method and files do not go together."""
    if not request.fields:
        raise UsageError(
            "there is nothing to correct: no background and no ensemble",
            hint="give --background, or --ensemble",
        )
    if request.ensemble and settings.method not in ENSEMBLE_METHODS:
        raise UsageError(
            f"the method {settings.method} makes no use of --ensemble",
            hint="use --method letkf, hybrid or phyda; or give the mean of the ensemble as "
            "--background",
        )


def read_forecasts(
    request: Request, settings: AnalysisSettings, times: pd.Series
) -> tuple[Background, Forecasts | None]:
    """The background and, for the methods that use one, the ensemble: that of ``request``, or a
    background file's own members.

    Of several times the one nearest to the observations, valid when ``valid_time`` says, if it
    does.
    """
    middle = times.dropna().median()
    near = (
        request.valid_time
        if request.valid_time is not None
        else None
        if pd.isna(middle)
        else np.datetime64(middle)
    )
    single, files = request.background, request.ensemble
    forecasts: Forecasts | None = None
    if (
        single is not None
        and not files
        and request.member is None
        and settings.method in ENSEMBLE_METHODS
    ):
        if len(member_labels(single)) > 1:
            files, single = [single], None
        elif settings.method in FILTERS:
            raise UsageError(
                f"the method {settings.method} needs an ensemble: {single} is a single forecast",
                hint="give its members with --ensemble",
            )
    if single is None:
        found, members = read_ensemble(
            files, request.time, near, request.rename, request.valid_time
        )
        forecasts = Forecasts(members, centred=True)
    else:
        found = read_background(
            single, request.time, near, request.rename, request.member, request.valid_time
        )
        if files:
            time = found.fields.time
            forecasts = Forecasts(
                read_ensemble(files, time, None, request.rename, time)[1], centred=False
            )
            found = replace(
                found,
                notes=[
                    *found.notes,
                    f"ensemble of {len(forecasts.members)} members beside the background",
                ],
            )
    if request.valid_time is None or request.valid_time == found.fields.time:
        return found, forecasts
    note = (
        f"treated as valid at {request.valid_time} (--valid-time) instead of "
        f"{str(found.fields.time)[:19]}"
    )
    fields = replace(found.fields, time=request.valid_time.astype("datetime64[ns]"))
    return replace(found, fields=fields, notes=[*found.notes, note]), forecasts

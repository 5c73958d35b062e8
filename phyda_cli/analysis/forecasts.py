"""The forecasts of a request: the background, an ensemble, and lagged forecasts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.analysis.analyse import FILTERS
from phyda_cli.analysis.climatology import climate_background
from phyda_cli.analysis.prior import Forecasts
from phyda_cli.analysis.publication import Request
from phyda_cli.errors import UsageError
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.ensemble import member_labels, read_ensemble
from phyda_cli.formats.inputs import FieldInput, frame_times
from phyda_cli.formats.lagged import Lagged, read_lagged
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.surface_air import with_specific_humidity
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["ENSEMBLE_METHODS", "lagged_forecasts", "read_climate", "read_forecasts"]

ENSEMBLE_METHODS = (*FILTERS, "phyda")
LAGGED_METHODS = ("oi", "phyda")


def read_climate(request: Request, checkpoint: Checkpoint, times: pd.Series) -> Background:
    """The checkpoint's climate as the background, at the time that is asked for, else the full hour
    nearest to the middle of the observations."""
    time, middle = request.time or request.valid_time, times.dropna().median()
    if time is None and pd.isna(middle):
        raise UsageError("no observation has a time", hint="say with --time which climate to take")
    if time is None:
        time = np.datetime64(pd.Timestamp(middle).round("h"))
    found = read_background(climate_background(checkpoint, time))
    note = f"no forecast: the climate of {str(time)[:16]} with its variance is the background"
    return replace(found, path=Path("climatology"), notes=[note])


def read_forecasts(
    request: Request, settings: AnalysisSettings, times: pd.Series
) -> tuple[Background, Forecasts | None]:
    """The background and, for the methods that use one, the ensemble: that of ``request``, or a
    background file's own members.

    Of several times the one nearest to the observations, valid when ``valid_time`` says, if it
    does.
    """
    near, middle = request.valid_time, times.dropna().median()
    if near is None and not pd.isna(middle):
        near = np.datetime64(middle)
    single, files = _nearest_source(request, near), request.ensemble
    forecasts: Forecasts | None = None
    if (
        single is not None
        and not files
        and request.member is None
        and settings.method in ENSEMBLE_METHODS
    ):
        stated = request.time if request.time is not None else request.valid_time
        if len(member_labels(single, request.rename, stated)) > 1:
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
    found = replace(found, fields=with_specific_humidity(found.fields))
    if forecasts is not None:
        members = [with_specific_humidity(member) for member in forecasts.members]
        forecasts = replace(forecasts, members=members)
    if request.valid_time is None or request.valid_time == found.fields.time:
        return found, forecasts
    note = (
        f"treated as valid at {request.valid_time} (--valid-time) instead of "
        f"{str(found.fields.time)[:19]}"
    )
    fields = replace(found.fields, time=request.valid_time.astype("datetime64[ns]"))
    return replace(found, fields=fields, notes=[*found.notes, note]), forecasts


def lagged_forecasts(
    request: Request,
    settings: AnalysisSettings,
    background: Background,
    forecasts: Forecasts | None,
) -> Lagged:
    """Forecasts of other starts beside static members: those that are given, and those in the
    background's own files."""
    useful = settings.method in LAGGED_METHODS and forecasts is None
    if request.lagged and not useful:
        raise UsageError(
            "--lagged goes beside the static members of the methods oi and phyda",
            hint="leave it out, or the ensemble",
        )
    if not useful or settings.ensemble.lagged_weight == 0:
        return Lagged()
    own = request.forecast if request.valid_time is None and request.member is None else []
    found = read_lagged(request.lagged, own, background, request.rename)
    return replace(found, members=tuple(with_specific_humidity(m) for m in found.members))


def _nearest_source(request: Request, near: np.datetime64 | None) -> FieldInput | None:
    """Of the background's files the one with the time that is wanted, after the shortest lead."""
    wanted = near if request.time is None else request.time
    if not request.trajectory or wanted is None:
        return request.background

    def rank(source: FieldInput) -> tuple[np.timedelta64, float]:
        valid, lead = frame_times(source, request.rename, wanted)
        distance = np.abs(valid - wanted)
        return distance.min(), float(lead[distance == distance.min()].min())

    return min(request.forecast, key=rank)

"""Observations with operators that other packages bring (:mod:`phyda_cli.plugins`).

An operator is a function of a file, of the state on the model grid, and of the valid time; what it
returns guides the sampler as :mod:`phyda_cli.analysis.guided` says::

    def wind_speed_850(path: Path, spec: StateSpec, time: np.datetime64) -> UserObservations: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from phyda_cli.analysis.guided import UserObservations
from phyda_cli.errors import InputError
from phyda_cli.fields.state import StateSpec
from phyda_cli.plugins import OPERATORS, plugin

__all__ = ["OwnOperator", "observed_by"]

OwnOperator: TypeAlias = Callable[[StateSpec, np.datetime64], UserObservations]
"""An operator that has its observations already."""


def observed_by(
    files: Mapping[str, Path], own: Sequence[OwnOperator], spec: StateSpec, time: np.datetime64
) -> dict[str, UserObservations]:
    """The observations of each operator, by its name: those of plug-ins from their ``files``, and
    those that ``own`` ones have. Raises UsageError where there is no such plug-in, InputError
    where its observations are no numbers with a positive error."""
    found = {name: plugin(OPERATORS, name)(path, spec, time) for name, path in files.items()}
    for each in own:
        found[getattr(each, "__name__", type(each).__name__)] = each(spec, time)
    for name, observations in found.items():
        value, error = (np.asarray(a) for a in (observations.value, observations.error))
        if value.shape != error.shape or not (np.isfinite(value).all() and (error > 0).all()):
            raise InputError(
                f"the operator {name} gives {value.size} values and {error.size} errors, expected "
                "numbers with a positive error each"
            )
    return found

"""The fields of several files by the time that they are valid at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.formats.inputs import FieldInput, name_of, valid_times

__all__ = ["FieldsByTime", "span_of"]


class FieldsByTime:
    """What ``files`` hold, by valid time; ``times`` says which file has each. ``name`` stands for
    them in messages; of an ensemble its ``member`` is read.

    One file that is ``alone`` is not looked through: it is read as its reader finds the time, whose
    errors then say what the file has. Raises InputError where two files hold the same time."""

    def __init__(
        self,
        name: str,
        files: Sequence[FieldInput],
        alone: bool = False,
        member: int | None = None,
    ) -> None:
        self.name, self.files, self.member = name, list(files), member
        self.times: dict[np.datetime64, FieldInput] = {}
        if alone and len(files) == 1:
            return
        for file in files:
            for time in valid_times(file):
                if time in self.times:
                    raise InputError(
                        f"{name_of(self.times[time])} and {name_of(file)} both hold the "
                        f"{name} of {np.datetime_as_string(time, unit='m')}Z",
                        hint="give each time once",
                    )
                self.times[time] = file

    def __bool__(self) -> bool:
        return bool(self.files)

    def at(self, time: np.datetime64) -> Fields | None:
        """The fields of ``time``, None where no file has it. A file that states no time is read as
        valid at any."""
        file = self.times.get(time)
        if file is None and len(self.files) == 1 and not self.times:
            file = self.files[0]
        return None if file is None else read_background(file, time, member=self.member).fields

    @property
    def span(self) -> str:
        """First and last time."""
        return span_of(list(self.times))


def span_of(times: Sequence[np.datetime64]) -> str:
    """``2011-01-20T12:00Z to 2011-01-21T12:00Z``."""
    if not times:
        return "no time"
    first, last = (np.datetime_as_string(t, unit="m") + "Z" for t in (min(times), max(times)))
    return first if first == last else f"{first} to {last}"

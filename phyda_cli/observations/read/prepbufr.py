"""NCEP's BUFR with tables of its own."""

from __future__ import annotations

from collections.abc import Sequence

from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr_messages import Message
from phyda_cli.observations.report import ReadResult

__all__ = ["read_prepbufr"]


def read_prepbufr(messages: Sequence[Message], file: str) -> ReadResult:
    """Raises InputError."""
    raise InputError(
        f"{file} is BUFR with its own tables inside (NCEP prepBUFR, or a dump), which is not read",
        hint="convert it to IODA, or decode it with NCEPLIBS-bufr and give a CSV",
    )

"""A cycle on its way: what it has so far, the faults that it met, and what stops it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from phyda_cli.cycle.folder import Published
from phyda_cli.cycle.gather import InputFile
from phyda_cli.cycle.policy import FAULTS, Mode, stops

__all__ = ["Making", "Stopped", "gathered_by"]

_LOSSES = ("background_late", "background_unreadable", "lagged_unreadable", "memory_lost")


@dataclass
class Stopped(Exception):
    """The cycle stops for ``fault`` with the exit ``code``."""

    fault: str
    code: int
    details: str = ""

    @classmethod
    def of(cls, fault: str, details: str = "") -> Stopped:
        """With the exit code of the policy's table."""
        return cls(fault, FAULTS[fault].code, details)


@dataclass
class Making:
    """The cycle of ``time``: where it is made, by which policy, the one before and the published
    one that it replaces, the feedback that it remembers the one before by, the observations of each
    source, those that cannot be read, and the faults so far."""

    time: datetime
    work: Path
    policy: Mode
    previous: Published | None
    replaced: Published | None = None
    memory: Path | None = None
    files: tuple[tuple[InputFile, ...], ...] = ()
    left_out: list[InputFile] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def observations(self) -> list[InputFile]:
        """The observation files that are used."""
        return [file for files in self.files for file in files]

    def note(self, fault: str, details: str = "") -> None:
        """Go on with ``fault``, or stop where the policy says so, and where it makes a published
        analysis worse. Raises Stopped."""
        if stops(fault, self.policy):
            raise Stopped.of(fault, details)
        if fault in _LOSSES and self.replaced and fault not in self.replaced.report["reasons"]:
            raise Stopped.of("replacement_poorer", fault)
        if fault not in self.faults:
            self.faults.append(fault)

    def require_no_fewer(self) -> None:
        """Stop where the published analysis, which this one replaces, used a file that is not used
        now."""
        if self.replaced is None:
            return
        gone = {f["path"] for f in self.replaced.report["observations"]}
        gone -= {f.path for f in self.observations}
        if gone:
            raise Stopped.of("replacement_poorer", f"without {', '.join(sorted(gone))}")

    def require_no_older(self, lead_hours: float | None) -> None:
        """Stop where the published analysis, which this one replaces, had a later background than
        one of ``lead_hours``."""
        if self.replaced is None or lead_hours is None:
            return
        before = self.replaced.report["background"]["lead_hours"]
        if before is not None and lead_hours > before:
            raise Stopped.of("replacement_poorer", f"a background of {lead_hours:g} h")


def gathered_by(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The observation files that a cycle had, also those that it could not read."""
    return [*report["observations"], *report.get("left_out", ())]

"""What a cycle leaves on disk. The last committed report is the state: there is no other.

    FOLDER/cycles/20201001T0600Z/   analysis.nc  feedback.nc  report.json  observations/  log.txt
    FOLDER/rejected/…               analyses that did not pass a gate, with their reasons
    FOLDER/latest                   a link to the last published cycle
    FOLDER/status.json              the same in one file, for monitoring; never read back
    FOLDER/events.jsonl             one JSON line an event

A cycle is made in a hidden folder beside ``cycles`` and published by one rename, so that a reader
sees a whole cycle or none. A cycle that is replaced is exchanged with the new one at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from phyda_cli.cycle.clock import from_stamp, stamp
from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish

__all__ = ["CycleFolder", "Published"]

REPORT = "report.json"
_EVENTS_BYTES = 10_000_000
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


@dataclass(frozen=True)
class Published:
    """A committed cycle: its ``time``, its folder ``path`` and its ``report``."""

    time: datetime
    path: Path
    report: dict[str, Any]


@dataclass(frozen=True)
class CycleFolder:
    """The folder ``root`` of one cycle."""

    root: Path

    def of(self, time: datetime) -> Path:
        """Where the cycle of ``time`` is, or will be."""
        return self.root / "cycles" / stamp(time)

    def times(self) -> list[datetime]:
        """The times of all committed cycles, in order."""
        return sorted(
            from_stamp(path.parent.name)
            for path in (self.root / "cycles").glob(f"????????T????Z/{REPORT}")
        )

    def published(self, time: datetime) -> Published:
        """The committed cycle of ``time``. Raises InputError when there is none, or when its report
        cannot be read."""
        path = self.of(time)
        try:
            report = json.loads((path / REPORT).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(
                f"there is no cycle {stamp(time)} in {self.root}",
                hint=f"the folders in {self.root / 'cycles'} are the cycles there are",
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path / REPORT} is no report of a cycle: {error}",
                hint=f"remove {path}; the cycle goes on from the one before",
            ) from error
        return Published(time, path, report)

    def last(self, before: datetime | None = None) -> Published | None:
        """The last committed cycle, or the last one before a time."""
        times = [t for t in self.times() if before is None or t < before]
        return self.published(times[-1]) if times else None

    def work(self, time: datetime) -> Path:
        """A new, empty folder to make the cycle of ``time`` in."""
        path = self.root / f".{stamp(time)}.part"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def sweep(self) -> None:
        """Remove what an interrupted run left, and let ``latest`` follow the last report."""
        for left in self.root.glob(".????????T????Z.part"):
            shutil.rmtree(left, ignore_errors=True)
        self.point_latest()

    def commit(self, work: Path, time: datetime, report: dict[str, Any]) -> Path:
        """Publish ``work``, which holds everything but the report, as the cycle of ``time``."""
        target = self.of(time)
        target.parent.mkdir(exist_ok=True)
        _write_json(work / REPORT, report)
        _sync_tree(work)
        if target.exists():
            _exchange(work, target)
            shutil.rmtree(work)
        else:
            work.rename(target)
        _sync(target.parent)
        self.point_latest()
        return target

    def reject(self, work: Path, time: datetime, report: dict[str, Any]) -> Path:
        """Keep ``work`` in ``rejected``, in place of an earlier one of the same time."""
        target = self.root / "rejected" / stamp(time)
        target.parent.mkdir(exist_ok=True)
        _write_json(work / REPORT, report)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
        return target

    def rejected(self, time: datetime) -> dict[str, Any] | None:
        """The report of a rejected cycle of ``time``."""
        try:
            path = self.root / "rejected" / stamp(time) / REPORT
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def point_latest(self) -> None:
        """Let the link ``latest`` follow the last report."""
        times, link = self.times(), self.root / "latest"
        if not times:
            return
        wanted = os.path.join("cycles", stamp(times[-1]))
        if link.is_symlink() and os.readlink(link) == wanted:
            return
        aside = self.root / ".latest.part"
        aside.unlink(missing_ok=True)
        aside.symlink_to(wanted)
        os.replace(aside, link)

    def event(self, now: datetime, name: str, **details: object) -> dict[str, Any]:
        """Append one line to ``events.jsonl``, which starts anew when it is large; returns it."""
        line = {"at": now.isoformat(timespec="seconds"), "event": name, **details}
        path = self.root / "events.jsonl"
        if path.exists() and path.stat().st_size > _EVENTS_BYTES:
            os.replace(path, path.with_name("events.1.jsonl"))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        return line

    def stopped(self, after: datetime | None) -> list[dict[str, Any]]:
        """The last ``stopped`` event of each cycle later than ``after``, in order of the cycles."""
        try:
            text = (self.root / "events.jsonl").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        found: dict[str, dict[str, Any]] = {}
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # a line that was being written when the machine stopped
                continue
            if isinstance(event, dict) and event.get("event") == "stopped":
                found[event["cycle"]] = event
        names = [n for n in sorted(found) if after is None or from_stamp(n) > after]
        return [found[name] for name in names]

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace ``status.json``."""
        with publish(self.root / "status.json", overwrite=True) as temporary:
            _write_json(temporary, status)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders at once, so that neither name is ever missing."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 and renameat2(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE) == 0:
        return
    # Some file systems cannot: then the name is missing for an instant.
    aside = one.with_name(f"{one.name}.old.part")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

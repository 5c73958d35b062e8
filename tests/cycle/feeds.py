"""A folder of feeds that a cycle reads, and the cycle over it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from phyda_cli.cycle.clock import Clock, stamp
from phyda_cli.cycle.run import Cycle, Outcome
from phyda_cli.settings.cycle import CycleSettings

QUICK = (sys.executable, str(Path(__file__).with_name("quick_analysis.py")))
FIRST = datetime(2020, 2, 28, 18, tzinfo=UTC)


def hours(count: float) -> datetime:
    """A time so many hours after the first cycle's."""
    return FIRST + timedelta(hours=count)


@dataclass
class Feeds:
    """Feeds in ``root`` and a cycle over them, made by :meth:`run`."""

    root: Path
    said: list[str] = field(default_factory=list)

    def observe(self, time: datetime, text: str = "t1 t2 u1 u2", name: str = "metar") -> Path:
        """Write the observations of a cycle."""
        path = self.root / f"{name}_{time:%Y%m%d%H}.csv"
        path.write_text(text)
        return path

    def forecast(self, time: datetime, lead: int = 6, text: str | None = None) -> Path:
        """Write a forecast valid at ``time``."""
        path = self.root / f"fc_{time - timedelta(hours=lead):%Y%m%d%H}_f{lead:03d}.nc"
        path.write_text(f"{time:%d%H}+{lead}" if text is None else text)
        return path

    def both(self, *times: datetime) -> None:
        """Observations and the youngest forecast of each cycle."""
        for time in times:
            self.observe(time, f"t{time:%H}1 t{time:%H}2 u{time:%d%H}")
            self.forecast(time)

    def settings(self, **changes: Any) -> CycleSettings:
        """The settings of the cycle."""
        values = {
            "folder": self.root / "cycle",
            "first": FIRST,
            "observations": [{"pattern": f"{self.root}/metar_{{time:%Y%m%d%H}}*.csv"}],
            "background": [{"pattern": f"{self.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"}],
            "settle_seconds": 0,
            "minutes": 0.1,
        }
        return CycleSettings.model_validate(values | changes)

    def run(self, now: datetime, once: bool = False, **changes: Any) -> list[Outcome]:
        """Run the cycle at ``now``."""
        cycle = Cycle(self.settings(**changes), Clock(now), self.said.append, QUICK)
        return cycle.run(once=once)

    @property
    def published(self) -> list[str]:
        """The names of the cycles that a reader sees."""
        return sorted(p.name for p in (self.root / "cycle" / "cycles").glob("*"))

    def report(self, time: datetime) -> dict[str, Any]:
        """The report of a published cycle."""
        text = (self.root / "cycle" / "cycles" / stamp(time) / "report.json").read_text()
        found: dict[str, Any] = json.loads(text)
        return found

"""The tiny cycle of the campaigns, and what a reader may see of a cycle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import tiny_case
from phyda_cli.cycle.folder import CycleFolder
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import CycleSettings

__all__ = ["FIRST", "STEP", "Case", "faults_seen", "left_over"]

FIRST = datetime(2021, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=6)
KEPT = 12
VISIBLE = {"cycles", "events.jsonl", "latest", "lock", "rejected", "status.json"}


@dataclass(frozen=True)
class Case:
    """A cycle in ``folder`` over the feeds in ``root``, which holds its model as well."""

    root: Path
    folder: Path

    def settings(self) -> CycleSettings:
        """The settings of the cycle."""
        return CycleSettings.model_validate(self._values())

    def words(self, now: datetime) -> list[str]:
        """The words after ``phyda`` of a run at ``now``."""
        config = self.folder.with_suffix(".toml")
        if not config.exists():
            values = {k: v for k, v in self._values().items() if k != "first"}
            lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
            text = "\n".join([f"first = {FIRST:%Y-%m-%dT%H:%M:%SZ}", *lines])
            config.write_text(text, encoding="utf-8")
        return ["cycle", "run", "--config", str(config), "--now", now.isoformat()]

    def analysis(self) -> list[str]:
        """The words after ``phyda`` of one analysis outside the cycle."""
        self.feed(FIRST)
        files = {"obs": self.observations(FIRST), "background": self.forecast(FIRST)}
        files |= {"out": self.root / "warm.nc", "feedback": self.root / "warm_fb.nc"}
        words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        return ["assimilate", "--overwrite", "--json", *words, *self._values()["arguments"]]

    def feed(self, when: datetime) -> None:
        """Write what the cycle of ``when`` takes in."""
        if not self._model.exists():
            tiny_case.tiny_checkpoint(self._model)
        tiny_case.forecast(self.forecast(when), when - STEP, when)
        tiny_case.observations(self.observations(when), when)

    def forget(self, when: datetime) -> None:
        """Remove what the cycle of ``when`` took in."""
        self.forecast(when).unlink(missing_ok=True)
        self.observations(when).unlink(missing_ok=True)

    def observations(self, when: datetime) -> Path:
        """The observations of ``when``."""
        return self.root / f"obs_{when:%Y%m%d%H}.csv"

    def forecast(self, when: datetime) -> Path:
        """The forecast valid at ``when``."""
        return self.root / f"fc_{when - STEP:%Y%m%d%H}_f006.nc"

    @property
    def _model(self) -> Path:
        return self.root / "model"

    def _values(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "first": FIRST,
            "settle_seconds": 0,
            "cutoff_minutes": 60,
            "late": "replace",
            "remember": True,
            "arguments": ["--method", "oi", "--fine", "off", "--checkpoint", str(self._model)],
            "observations": [{"pattern": f"{self.root}/obs_{{time:%Y%m%d%H}}.csv"}],
            "background": [{"pattern": f"{self.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"}],
            "retention": {"cycles": KEPT},
            # forecast and truth have nothing in common here
            "gates": {"increment_sigmas": 99, "dry_mass_hpa": 99, "hydrostatic_excess": 99},
        }


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool | int) else f'"{value}"'


def faults_seen(out: Path) -> list[str]:
    """What is wrong with what a reader sees in the cycle's folder ``out``."""
    found = []
    folder = CycleFolder(out)
    for path in (out / "cycles").glob("*"):
        if not (path / "report.json").is_file():
            found.append(f"{path.name} has no report")
    for when in folder.times():
        cycle = folder.published(when)
        for name, expected in cycle.report["outputs"].items():
            if not (cycle.path / name).is_file() or sha256(cycle.path / name) != expected:
                found.append(f"{cycle.path.name}/{name} is not what its report says")
        for file in cycle.report["observations"]:
            if sha256(cycle.path / file["copy"]) != file["sha256"]:
                found.append(f"{cycle.path.name}: the hash of {file['copy']} is another")
    link = out / "latest"
    if link.is_symlink() and not (link / "report.json").is_file():
        found.append("latest leads nowhere")
    return found


def left_over(out: Path) -> list[str]:
    """Names that should not be there after a success."""
    names = {p.name for p in out.iterdir()} - VISIBLE
    return [f"{name} is left" for name in sorted(names)]

"""``phyda config show``: every setting, its value and where it comes from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phyda_cli.commands.config import MODELS
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import fields_of
from phyda_cli.settings.cycle import CycleSettings

Run = Callable[..., Any]


def rows(outcome: Any) -> dict[str, dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return {row["name"]: row for row in json.loads(outcome.out)["settings"]}


@pytest.mark.parametrize("command", MODELS)
def test_defaults_are_a_configuration(phyda: Run, command: str, tmp_path: Path) -> None:
    shown = phyda("config", "show", command, "--defaults")
    assert shown.code == 0, shown.err
    stated = tomllib.loads(shown.out)
    assert stated
    (tmp_path / "c.toml").write_text(shown.out)
    if "# required" in shown.out:
        return  # what is missing keeps the others from being checked
    before = rows(phyda("config", "show", command, "--json", "--defaults"))
    again = rows(phyda("config", "show", command, "--json", "--config", tmp_path / "c.toml"))
    for name, row in before.items():
        assert again[name]["value"] == row["value"], name
    assert "c.toml" in {row["source"] for row in again.values()}


def test_settings_of_a_cycle(phyda: Run, tmp_path: Path) -> None:
    """Those of the example: shown, valid, and the same when they are read again."""
    example = Path(__file__).resolve().parents[2] / "examples" / "cron" / "cycle.toml"
    shown = phyda("config", "show", "cycle", "--config", example)
    assert shown.code == 0, shown.err
    assert "# required" not in shown.out
    (tmp_path / "c.toml").write_text(shown.out)
    before = CycleSettings.model_validate(tomllib.loads(example.read_text(encoding="utf-8")))
    again = rows(phyda("config", "show", "cycle", "--json", "--config", tmp_path / "c.toml"))
    assert again["folder"]["source"] == "c.toml"
    assert again["gates.dry_mass_hpa"]["value"] == before.gates.dry_mass_hpa
    assert len(again["background"]["value"]) == len(before.background)
    values = {name: row["value"] for name, row in again.items()}
    assert values == {
        name: row["value"]
        for name, row in rows(
            phyda("config", "show", "cycle", "--json", "--config", example)
        ).items()
    }


def test_sources(
    phyda: Run, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ops.toml").write_text("seed = 5\nmembers = 2\n")
    monkeypatch.setenv("PHYDA_MEMBERS", "3")
    options = ("--set", "qc.window_hours=2", "--config", tmp_path / "ops.toml")
    found = rows(phyda("config", "show", "--json", *options, "--checkpoint", tiny_checkpoint))
    sources = {name: (row["value"], row["source"]) for name, row in found.items()}
    assert sources["seed"] == (5, "ops.toml")
    assert sources["members"] == (3, "PHYDA_MEMBERS")
    assert sources["qc.window_hours"] == (2.0, "--set qc.window_hours=2")
    assert sources["method"] == ("phyda", "default")
    assert sources["solver.radius_km"][1].startswith("checkpoint")
    assert {path for path, _ in fields_of(AnalysisSettings)} <= set(found)


def test_wrong_words(phyda: Run) -> None:
    assert phyda("config", "show", "colour").code == 2
    assert phyda("config", "show", "--set", "colour=1").code == 2
    assert phyda("config", "show", "--preset", "64x32").code == 2


@pytest.mark.parametrize("text", ['folder = "a\\u0000b"', 'arguments = ["a\\u0000b"]'])
def test_a_text_that_no_path_can_be(phyda: Run, tmp_path: Path, text: str) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "cron" / "cycle.toml"
    name = text.split(" = ")[0]
    kept = [x for x in example.read_text().splitlines() if not x.startswith(f"{name} =")]
    (tmp_path / "c.toml").write_text("\n".join([text, *kept]))
    outcome = phyda("cycle", "run", "--config", tmp_path / "c.toml", "--now", "2020-10-01")
    assert outcome.code == 2
    assert f"{name}: a text with a NUL" in outcome.err

"""The settings in ``examples`` are settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from phyda_cli.settings.base import load_settings
from phyda_cli.settings.presets import Preset, preset_settings
from phyda_cli.settings.training import TrainingSettings

EXAMPLES = sorted(
    p
    for p in (Path(__file__).resolve().parents[2] / "examples").glob("*.toml")
    if p.name != "metar.toml"
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_settings_of_examples(path: Path) -> None:
    assert load_settings(TrainingSettings, path, {}) != TrainingSettings()


def test_the_preset_has_what_the_bundled_weights_have() -> None:
    preset = preset_settings(Preset.GLOBAL_64X32)
    bundled = load_settings(
        TrainingSettings, next(p for p in EXAMPLES if p.stem == "speedy-64x32"), {}
    )
    for name in ("members", "case_members", "solver", "network"):
        assert getattr(preset, name) == getattr(bundled, name)

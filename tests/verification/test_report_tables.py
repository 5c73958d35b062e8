"""Where the analysis came from, on the page: the command that repeats it, and its settings."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import from_file, resolve
from phyda_cli.verification.report_tables import provenance_block


def blocks_of(**attributes: Any) -> list[Any]:
    return provenance_block(SimpleNamespace(attributes=attributes))  # type: ignore[arg-type]


def test_the_command_to_repeat_it_has_what_the_attributes_know() -> None:
    _, block = blocks_of(
        obs_file="a.csv, b.csv",
        background_file="fc_00.nc, fc_06.nc",
        valid_time_override="2020-10-01T06:00:00",
        lagged_file="old.nc",
        obs_map_sha256="abc",
        method="oi",
        ensemble_file="",
    )
    assert shlex.split(block.pre)[2:] == shlex.split(
        "--obs a.csv --obs b.csv --lagged old.nc --background 'fc_0*' "
        "--valid-time 2020-10-01T06:00:00 --method oi --obs-map FILE --out analysis.nc"
    )


def test_its_settings_are_toml_that_gives_them_again(tmp_path: Path) -> None:
    settings = AnalysisSettings(method="oi")
    *_, block = blocks_of(config_json=settings.model_dump_json(), obs_file="a.csv")
    (tmp_path / "settings.toml").write_text(block.pre)
    given = from_file(AnalysisSettings, tmp_path / "settings.toml")
    assert resolve(AnalysisSettings, given) == settings

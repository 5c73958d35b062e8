"""Options made from settings: texts, precedence, and errors that name source and nearest names."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.errors import UsageError
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import Given, fields_of, nearest, value_at, variable_of
from phyda_cli.settings.data import DownloadSettings, ExecutionSettings, PreprocessSettings
from phyda_cli.settings.model import SamplerSettings
from phyda_cli.settings.options import Chosen
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.settings.words import accepts, text_of

MODELS = (
    AnalysisSettings,
    TrainingSettings,
    PreprocessSettings,
    ExecutionSettings,
    VerificationSettings,
)


def chosen(*sets: str, config: Path | None = None, **flags: str) -> AnalysisSettings:
    stated = {name: Given(text, f"--{name}") for name, text in flags.items()}
    return Chosen((AnalysisSettings,), stated, sets, config).settings(AnalysisSettings)


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_is_described_and_its_default_can_be_typed(
    model: type[AnalysisSettings],
) -> None:
    default = model()
    for path, field in fields_of(model):
        assert field.description, path
        assert accepts(field), path
        value = value_at(default, path)
        if value not in ({}, ()):
            text = f"{path}={text_of(value)}"
            again = Chosen((model,), {}, (text,)).settings(model)
            assert value_at(again, path) == value, text


@pytest.mark.parametrize("model", MODELS)
def test_no_two_settings_share_an_environment_variable(model: type[AnalysisSettings]) -> None:
    names = [variable_of(model, path) for path, _ in fields_of(model)]
    assert len(set(names)) == len(names)


def test_flag_then_set_then_environment_then_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("members = 2\nqc.window_hours = 1\n")
    assert chosen(config=config).members == 2
    monkeypatch.setenv("PHYDA_MEMBERS", "3")
    monkeypatch.setenv("PHYDA_QC_WINDOW_HOURS", "1.5")
    assert chosen(config=config).members == 3
    assert chosen(config=config).qc.window_hours == 1.5
    assert chosen("members=4", config=config).members == 4
    assert chosen("members=4", config=config, members="5").members == 5


def test_values_of_all_kinds() -> None:
    found = chosen(
        "qc.stuck_hours=none",
        "qc.thinning=none",
        "background_error_scale=0.5",
        "qc.errors.t2m=1.5",
        "qc.errors.t=[[500, 1.0], [850, 2.0]]",
    )
    assert found.qc.stuck_hours is None
    assert found.qc.thinning == "none"
    assert found.background_error_scale == 0.5
    assert found.qc.errors == {"t2m": 1.5, "t": ((500.0, 1.0), (850.0, 2.0))}
    both = (PreprocessSettings, ExecutionSettings)
    several = Chosen(both, {}, ("levels=500,850", "workers=3", "lag_hours=6"))
    assert several.settings(PreprocessSettings).levels == (500, 850)
    assert several.settings(ExecutionSettings).workers == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("window", "qc.window_hours"),
        ("qc.window_hour", "qc.window_hours"),
        ("robst", "qc.robust"),
        ("rtps", "ensemble.rtps"),
    ],
)
def test_the_nearest_names_are_said(name: str, expected: str) -> None:
    assert expected in nearest(AnalysisSettings, name)
    with pytest.raises(UsageError) as refused:
        chosen(f"{name}=1")
    assert expected in refused.value.hint
    assert "phyda config show assimilate" in refused.value.hint


def test_a_wrong_value_names_its_source(tmp_path: Path) -> None:
    config = tmp_path / "ops.toml"
    config.write_text("[qc]\nwindow_hours = -1\nwindw_hours = 2\n")
    with pytest.raises(UsageError) as refused:
        chosen(config=config, method="of")
    for part in ("qc.window_hours", "-1", "ops.toml", "--method", "'of'", "qc.windw_hours"):
        assert part in refused.value.message
    assert "qc.window_hours" in refused.value.hint
    assert ".py" not in refused.value.hint


@pytest.mark.parametrize("text", ["members", "members=", "members=x", "=3", "qc=1", "qc.errors=[1"])
def test_texts_that_are_no_setting(text: str) -> None:
    with pytest.raises(UsageError):
        chosen(text)


@given(st.text(max_size=30))
def test_any_text_is_a_setting_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(chosen(text), AnalysisSettings)


def test_orders_are_checked() -> None:
    with pytest.raises(ValueError, match="is not below"):
        SamplerSettings(sigma_min=0.3, sigma_max=0.3)
    with pytest.raises(ValueError, match="are more than"):
        TrainingSettings(reports=(30, 20))
    with pytest.raises(ValueError, match="as-is"):
        PreprocessSettings(grid="own")


def test_lists_in_text() -> None:
    found = DownloadSettings(years="2015-2017,2020", levels="500, 850", area="72,-25,34,45")
    assert found.years == (2015, 2016, 2017, 2020)
    assert found.levels == (500, 850)
    assert found.area == (72.0, -25.0, 34.0, 45.0)

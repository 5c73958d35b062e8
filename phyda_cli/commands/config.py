"""``phyda config``: what every setting is, and where its value comes from."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python

from phyda_cli.commands.arguments import AsJson, Checkpoint
from phyda_cli.commands.console import emit_json, emit_text
from phyda_cli.errors import UsageError
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import Given, Settings, fields_of, resolve, value_at, variable_of
from phyda_cli.settings.cycle import CycleSettings
from phyda_cli.settings.data import (
    DownloadSettings,
    ExecutionSettings,
    PreprocessSettings,
    RetrySettings,
    TwinSettings,
)
from phyda_cli.settings.options import Chosen, takes_settings
from phyda_cli.settings.presets import Preset, preset_settings
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.settings.words import accepts, as_toml, default_text

__all__ = ["config"]

MODELS: dict[str, tuple[type[Settings], ...]] = {
    "assimilate": (AnalysisSettings,),
    "download": (DownloadSettings, RetrySettings),
    "preprocess": (PreprocessSettings, ExecutionSettings),
    "train": (TrainingSettings,),
    "simulate": (TwinSettings,),
    "cycle": (CycleSettings,),
    "verify": (VerificationSettings,),
}
WIDTH = 96

config = typer.Typer(no_args_is_help=True, help="Show settings and where they come from.")


@config.callback()
def _group() -> None:
    """Keeps ``show`` a subcommand while it is the only one."""


@config.command()
@takes_settings({})
def show(
    chosen: Chosen,
    command: Annotated[
        str, typer.Argument(help=f"Command whose settings to show: {', '.join(MODELS)}.")
    ] = "assimilate",
    checkpoint: Checkpoint = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Start from a preset of `phyda train`.")
    ] = None,
    defaults: Annotated[
        bool,
        typer.Option("--defaults", help="Show the defaults, whatever files and environment say."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every setting with its description, its value and where the value comes from.

    The text is TOML: saved in a file it serves as `--config`.

    ```
    phyda config show
    phyda config show assimilate --config operations.toml --set qc.window_hours=2
    phyda config show train --defaults > train.toml
    ```
    """
    if command not in MODELS:
        raise UsageError(f"{command}: expected one of {', '.join(MODELS)}")
    if preset and command != "train":
        raise UsageError("--preset is for phyda config show train")
    start = preset_settings(preset) if preset else None
    rows: list[dict[str, Any]] = []
    for model in MODELS[command]:
        known = replace(chosen, models=MODELS[command])
        rows += _rows(model, {} if defaults else known.given(model, start))
    if command == "assimilate" and not defaults:
        rows += _of_checkpoint(checkpoint)
    if as_json:
        emit_json({"schema": 1, "command": command, "settings": rows})
    else:
        emit_text("\n".join(_line(row) for row in rows) + "\n")


def _rows(model: type[Settings], given: dict[str, Given]) -> list[dict[str, Any]]:
    fields = dict(fields_of(model))
    missing = {path for path, field in fields.items() if field.is_required()} - set(given)
    settings = None if missing else resolve(model, given)  # with gaps: as given, not checked
    rows = []
    for path, field in fields.items():
        sources = [given[p].source for p in given if p == path or p.startswith(f"{path}.")]
        if settings is not None:
            value = value_at(settings, path)
        elif path in given:
            value = given[path].value
        else:
            value = None if path in missing else field.get_default(call_default_factory=True)
        rows.append(
            {
                "name": path,
                "value": to_jsonable_python(value),
                "source": "required" if path in missing else ", ".join(sources) or "default",
                "default": None if field.is_required() else default_text(field),
                "accepts": accepts(field),
                "environment": variable_of(model, path),
                "description": field.description,
            }
        )
    return rows


def _of_checkpoint(folder: Path | None) -> list[dict[str, Any]]:
    """The settings of stages 1 and 3 that the checkpoint brings; no command changes them."""
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.model.checkpoint import Checkpoint as Model

    metadata = Model.open(folder or BUNDLED).metadata
    rows = []
    for group, settings in (("solver", metadata.solver), ("sampler", metadata.sampler)):
        for path, field in fields_of(type(settings)):
            value = to_jsonable_python(value_at(settings, path))
            rows.append(
                {
                    "name": f"{group}.{path}",
                    "value": value,
                    "source": f"checkpoint {metadata.name}",
                    "accepts": accepts(field),
                    "description": field.description,
                }
            )
    return rows


def _line(row: dict[str, Any]) -> str:
    """One setting as TOML, its description as a comment above."""
    text = f"{row['description']} [{row['accepts']}]"
    comment = textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
    if row["source"] == "required":
        return f"{comment}\n# {row['name']} =  # required\n"
    line = f"{row['name']} = {as_toml(row['value'])}"
    if "environment" not in row:
        line = f"# {line}"  # the checkpoint's own, not for a file
    return f"{comment}\n{line}  # {row['source']}\n"

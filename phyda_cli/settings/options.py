"""Command-line options made from the fields of the settings: text, default, choices and range
stand in one place, the field."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from phyda_cli.errors import UsageError
from phyda_cli.settings.base import (
    Given,
    Settings,
    fields_of,
    from_environment,
    from_file,
    given_in,
    nearest,
    resolve,
)
from phyda_cli.settings.words import default_text, kinds

__all__ = ["Chosen", "Flag", "SettingsCommand", "takes_settings"]

RUNNING = "Running"
LONGEST_METAVAR = 24
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Flag:
    """An option for the setting at ``path`` in a ``panel`` of the help; its name is that of the
    setting unless ``name`` is another."""

    path: str
    panel: str = RUNNING
    name: str = ""
    hidden: bool = False

    @property
    def option(self) -> str:
        """``--window-hours``."""
        return self.name or f"--{self.path.rpartition('.')[2].replace('_', '-')}"


@dataclass(frozen=True)
class Chosen:
    """What a command line says about the settings: its flags, ``--set`` and ``--config``."""

    models: tuple[type[Settings], ...] = ()
    flags: Mapping[str, Given] = field(default_factory=dict)
    sets: Sequence[str] = ()
    config: Path | None = None

    def given(self, model: type[S], preset: S | None = None) -> dict[str, Given]:
        """All given values with their sources: flag > --set > environment > file > preset.

        Raises UsageError for a ``--set`` that ``model`` does not have.
        """
        below = preset.model_dump(exclude_unset=True) if preset else {}
        stated = from_file(model, self.config) if self.config else {}
        others = [other for other in self.models if other is not model]
        return {
            **given_in(model, below, "preset"),
            **{p: v for p, v in stated.items() if not any(_has(other, p) for other in others)},
            **from_environment(model),
            **_set(model, self.models, self.sets),
            **{path: found for path, found in self.flags.items() if _has(model, path)},
        }

    def settings(self, model: type[S], preset: S | None = None) -> S:
        """The settings. Raises UsageError for unknown or invalid values."""
        return resolve(model, self.given(model, preset))


def takes_settings(
    flags: Mapping[type[Settings], Sequence[Flag]], panels: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options ``flags``, ``--config`` and ``--set``; it finds them in its
    parameter ``chosen``. The help shows its ``panels`` in this order."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "chosen"]
        named = {f"setting_{n}": f for n, f in enumerate(f for fs in flags.values() for f in fs)}
        model_of = {flag: model for model, listed in flags.items() for flag in listed}
        made = [_parameter(name, model_of[flag], flag) for name, flag in named.items()]
        made += [_CONFIG, _SET]
        if any(p.annotation.__metadata__[0].hidden for p in [*own, *made]):
            made.append(_HELP_ALL)
        every = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *made]]
        parameters = sorted(every, key=lambda p: _place(p, panels))

        @wraps(function)
        def command(**values: Any) -> None:
            texts = {flag: values.pop(name, None) for name, flag in named.items()}
            stated = {f.path: Given(t, f.option) for f, t in texts.items() if t is not None}
            sets, config = values.pop("set_", None) or (), values.pop("config", None)
            values.pop("help_all", None)
            function(**values, chosen=Chosen(tuple(flags), stated, sets, config))

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


class SettingsCommand(TyperCommand):
    """A command whose ``--help`` stands among its other options, and which has ``--help-all``."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = RUNNING  # type: ignore[attr-defined]
        return option


def _show_all(ctx: typer.Context, value: bool) -> None:
    if value:
        for parameter in ctx.command.params:
            parameter.hidden = False  # type: ignore[attr-defined]
        typer.echo(ctx.get_help(), nl=False)
        raise typer.Exit


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


_CONFIG = _keyword(
    "config",
    Annotated[
        Path | None,
        typer.Option(
            help="TOML file with settings, as phyda config show prints them.",
            metavar="FILE",
            envvar="PHYDA_CONFIG",
            show_envvar=False,
            rich_help_panel=RUNNING,
            readable=False,
        ),
    ],
)
_SET = _keyword(
    "set_",
    Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any setting that phyda config show prints. Repeatable.",
            rich_help_panel=RUNNING,
        ),
    ],
)
_HELP_ALL = _keyword(
    "help_all",
    Annotated[
        bool | None,
        typer.Option(
            "--help-all",
            is_eager=True,
            callback=_show_all,
            help="Show the rare options too and exit.",
            rich_help_panel=RUNNING,
        ),
    ],
)


def _parameter(name: str, model: type[Settings], flag: Flag) -> inspect.Parameter:
    setting = dict(fields_of(model))[flag.path]
    default = "" if setting.is_required() else f" [default: {default_text(setting)}]"
    is_pair = _is_pair(setting.annotation)
    option = typer.Option(
        flag.option,
        metavar="LOW HIGH" if is_pair else _metavar(setting, flag.path),
        help=f"{setting.description}{default}",
        hidden=flag.hidden,
        rich_help_panel=flag.panel,
    )
    return _keyword(name, Annotated[tuple[str, str] | None if is_pair else str | None, option])


def _is_pair(kind: Any) -> bool:
    """Whether a setting is two numbers, which are two words on the command line."""
    return get_origin(kind) is tuple and len(get_args(kind)) == 2 and ... not in get_args(kind)


def _metavar(setting: FieldInfo, path: str) -> str:
    text = kinds(setting)
    return text if len(text) <= LONGEST_METAVAR else path.rpartition(".")[2].upper()


def _place(parameter: inspect.Parameter, panels: Sequence[str]) -> int:
    [option, *_] = parameter.annotation.__metadata__
    panel = getattr(option, "rich_help_panel", None)
    return panels.index(panel) if panel in panels else -1


def _has(model: type[Settings], path: str) -> bool:
    return any(path == known or path.startswith(f"{known}.") for known, _ in fields_of(model))


def _set(
    model: type[Settings], models: Sequence[type[Settings]], sets: Sequence[str]
) -> dict[str, Given]:
    """``NAME=VALUE`` texts for ``model``, one of a command's ``models``, by path; a value in
    brackets is TOML."""
    out = {}
    for text in sets:
        path, separator, value = text.partition("=")
        path = path.strip()
        hint = f"phyda config show {model.command} prints every setting"
        if not separator:
            raise UsageError(f"--set {text}: expected NAME=VALUE", hint=hint)
        if not any(_has(known, path) for known in models):
            close = nearest(model, path)
            names = f"the nearest names are {', '.join(close)}; " if close else ""
            raise UsageError(f"--set {text}: there is no setting {path!r}", hint=names + hint)
        if _has(model, path):
            out[path] = Given(_value(value.strip(), text), f"--set {text}")
    return out


def _value(value: str, text: str) -> object:
    if not value.startswith(("[", "{")):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--set {text}: {error}", hint="lists are written as in TOML") from error

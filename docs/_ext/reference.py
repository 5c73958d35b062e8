"""Pages of the reference that are made from the code, so that they cannot be wrong.

Each function below is one page. They are written to ``docs/reference/generated`` (ignored by git)
before Sphinx reads its sources.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic import BaseModel

import phyda_cli
from phyda_cli import errors
from phyda_cli.app import app
from phyda_cli.commands.config import MODELS
from phyda_cli.names import OBSERVABLES, VARIABLES, Variable
from phyda_cli.observations.read import decode, layouts
from phyda_cli.observations.read.columns import Column, ObservationMap, TimeColumn
from phyda_cli.settings.base import fields_of, variable_of
from phyda_cli.settings.words import accepts, default_text

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "generated"


def setup(application: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    application.connect("builder-inited", lambda _: write_pages(FOLDER))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """Write every page that has changed, so that Sphinx reads no other again."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in (commands, settings, variables, mapping, formats, exit_codes, python):
        path, text = folder / f"{page.__name__}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands() -> str:
    """Every command with its help, its arguments and its options."""
    lines = [
        "# Commands",
        "",
        "This page is made from the code. `phyda COMMAND --help` says the same.",
    ]
    for path, command in _commands(typer.main.get_command(app), ()):
        lines += ["", f"## {' '.join(path)}", "", inspect.cleandoc(command.help or ""), ""]
        rows = [_parameter(p) for p in command.params if not _is_group_help(p)]
        lines += _table(("option", "takes", "what it does"), rows)
    return _page(lines)


def settings() -> str:
    """Every setting of every command, as ``phyda config show --defaults`` has them."""
    lines = [
        "# Settings",
        "",
        "This page is made from the code. `phyda config show COMMAND` prints the same with the",
        "values in force. A setting is given with `--set NAME=VALUE`, by its environment variable,",
        "or in the TOML file of `--config`.",
    ]
    for command, models in MODELS.items():
        lines += ["", f"## phyda {command}", ""]
        rows = [
            (
                f"`{path}`",
                accepts(field),
                "required" if field.is_required() else default_text(field),
                f"{field.description} (`{variable_of(model, path)}`)",
            )
            for model in models
            for path, field in fields_of(model)
        ]
        lines += _table(("name", "takes", "default", "what it does"), rows)
    return _page(lines)


def variables() -> str:
    """The variables of fields and of observations."""
    lines = ["# Variables", "", "This page is made from `phyda_cli/names.py`."]
    for title, table in (("Of forecasts", VARIABLES), ("Of observations", OBSERVABLES)):
        lines += ["", f"## {title}", ""]
        rows = [_variable(variable) for variable in table.values()]
        head = ("name", "meaning", "units", "other names", "plausible", "default error")
        lines += _table(head, rows)
    return _page(lines)


def mapping() -> str:
    """What a mapping file may hold."""
    lines = [
        "# Mapping files",
        "",
        "This page is made from the code. `--obs-map FILE` names a TOML file with these keys. All",
        "are optional: phyda recognises from the header what the file leaves out.",
        "[Your spreadsheet](../../howto/spreadsheet.md) has an example.",
    ]
    models = (("The file", ObservationMap), ("A column", Column), ("The time", TimeColumn))
    for title, model in models:
        lines += ["", f"## {title}", ""]
        lines += _table(("key", "what it says"), _keys(model))
    return _page(lines)


def formats() -> str:
    """Formats of observation files that are told apart by their content."""
    decode._load_formats()
    lines = ["# Formats of observations", "", "This page is made from the code."]
    lines += ["", "## Files", ""]
    lines += [f"- {name}" for name in decode._FORMATS]
    lines += [
        "",
        "## Text exports that are known by their header",
        "",
        "Each is a mapping file that comes with phyda; `phyda obs maps NAME` prints it.",
        "",
    ]
    rows = [
        (f"`{path.stem}`", _first_comment(path)) for path in sorted(layouts.FOLDER.glob("*.toml"))
    ]
    return _page(lines + _table(("name", "what it is"), rows))


def exit_codes() -> str:
    """The exit codes with their meaning, from the errors themselves."""
    kinds = errors.PhydaError.__subclasses__()
    rows = [(str(e.exit_code), _sentence(e), f"`{e.__name__}`") for e in kinds]
    rows += [
        ("0", "Done, or the output is up to date.", ""),
        ("1", "A defect in phyda, or too little memory.", "`Exception`"),
        ("128+n", "Ended by signal n.", ""),
    ]
    rows.sort(key=lambda row: int(row[0].split("+")[0]))
    head = ["# Exit codes", "", "This page is made from `phyda_cli/errors.py`.", ""]
    tail = ["", "[Outputs](../outputs.md) says what each of them leaves on disk."]
    return _page(head + _table(("code", "meaning", "in Python"), rows) + tail)


def python() -> str:
    """What ``import phyda_cli`` offers."""
    names = [name for name in getattr(phyda_cli, "__all__", ()) if not name.startswith("__")]
    if not names:
        return "# Python\n\nThe package has no names of its own yet.\n"
    lines = ["# Python", "", "This page is made from the docstrings of `phyda_cli`.", ""]
    for name in names:
        thing = getattr(phyda_cli, name)
        kind = "autoclass" if inspect.isclass(thing) else "autofunction"
        options = ["   :members:"] if inspect.isclass(thing) else []
        lines += ["```{eval-rst}", f".. {kind}:: phyda_cli.{name}", *options, "```", ""]
    return _page(lines)


def _commands(command: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path, command
        return
    for name, below in subcommands.items():
        yield from _commands(below, (*(path or ("phyda",)), name))


def _is_group_help(parameter: Any) -> bool:
    return parameter.name in ("help", "help_all")


def _parameter(parameter: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in parameter.opts) or f"`{parameter.name}`"
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    required = " Required." if parameter.required else ""
    return names, parameter.metavar or "", f"{getattr(parameter, 'help', '') or ''}{required}"


def _variable(variable: Variable) -> tuple[str, ...]:
    low, high = variable.valid_range
    error = variable.errors
    knots = (
        f"{error:g}"
        if isinstance(error, float | int)
        else ", ".join(f"{value:g} at {level:g} hPa" for level, value in error)
    )
    aliases = ", ".join(f"`{alias}`" for alias in variable.aliases)
    return (
        f"`{variable.name}`",
        variable.long_name,
        variable.units,
        aliases,
        f"{low:g} to {high:g}",
        knots,
    )


def _keys(model: type[BaseModel]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f.description or "") for name, f in model.model_fields.items()]


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def _sentence(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[" ".join(str(c).replace("|", "\\|").split()) for c in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return [f"| {' | '.join(line)} |" for line in lines] if cells else []


def _page(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"

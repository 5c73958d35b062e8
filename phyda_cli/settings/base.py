"""Base of all settings, and how flags, the environment and a TOML file become one of them.

A given setting is a value with the source that gave it, under its path such as
``qc.window_hours``. Sources are merged as dictionaries, the stronger one last.
"""

from __future__ import annotations

import os
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from phyda_cli.errors import InputError, UsageError

__all__ = [
    "Given",
    "Settings",
    "alternatives",
    "fields_of",
    "from_environment",
    "from_file",
    "given_in",
    "in_order",
    "load_settings",
    "nearest",
    "resolve",
    "value_at",
    "variable_of",
]

MOST_NEAREST = 3  # names that an error proposes


class Settings(BaseModel):
    """Base of all settings. Text may stand for any value: ``none`` for None, ``500,850`` for a
    list."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    command: ClassVar[str] = ""  # whose settings they are, as in ``phyda config show COMMAND``
    prefix: ClassVar[str] = ""  # of the environment variables

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: object, info: ValidationInfo) -> object:
        if _has_nul(value):
            raise ValueError("a text with a NUL character, which no path or word can have")
        if not isinstance(value, str):
            return value
        kinds = alternatives(cls.model_fields[str(info.field_name)].annotation)
        if value.strip().lower() == "none" and types.NoneType in kinds:
            return None
        if any(get_origin(kind) is tuple for kind in kinds):
            return [part for part in re.split(r"[,\s]+", value.strip()) if part]
        return value


def _has_nul(value: object) -> bool:
    """Whether a text in ``value``, or in what it lists, has a NUL character."""
    if isinstance(value, str):
        return "\0" in value
    return isinstance(value, (list, tuple)) and any(map(_has_nul, value))


class Given(NamedTuple):
    """A value for one setting and who gave it, for messages."""

    value: object
    source: str


S = TypeVar("S", bound=Settings)


def load_settings(
    model: type[S], path: Path | None, overrides: Mapping[str, object], preset: S | None = None
) -> S:
    """Settings from a TOML file with ``overrides`` on top, nested as the settings are; None in
    ``overrides`` counts as not given. What neither has is taken from ``preset``.

    Raises InputError when the file is missing or no TOML, UsageError for unknown or invalid fields.
    """
    below = preset.model_dump(exclude_unset=True) if preset else {}
    stated = given_in(model, overrides, "given")
    given = {
        **given_in(model, below, "preset"),
        **(from_file(model, path) if path else {}),
        **{path: found for path, found in stated.items() if found.value is not None},
    }
    return resolve(model, given)


def resolve(model: type[S], given: Mapping[str, Given]) -> S:
    """The settings that ``given`` values make. Raises UsageError, which names source and fault."""
    try:
        return model.model_validate(_nested(given))
    except ValidationError as error:
        raise _refused(model, given, error) from error


def from_file(model: type[Settings], path: Path) -> dict[str, Given]:
    """What the TOML file ``path`` gives. Raises InputError when it is missing or no TOML."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    return given_in(model, values, path.name)


def from_environment(model: type[Settings]) -> dict[str, Given]:
    """What environment variables such as ``PHYDA_QC_WINDOW_HOURS`` give."""
    named = {path: variable_of(model, path) for path, _ in fields_of(model)}
    return {
        path: Given(os.environ[name], name) for path, name in named.items() if os.environ.get(name)
    }


def variable_of(model: type[Settings], path: str) -> str:
    """The environment variable of the setting at ``path``."""
    return f"{model.prefix}{path.replace('.', '_').upper()}"


def given_in(
    model: type[Settings] | None, values: Mapping[str, object], source: str, above: str = ""
) -> dict[str, Given]:
    """Nested ``values`` by path; what is no group of ``model`` is one value."""
    out: dict[str, Given] = {}
    for name, value in values.items():
        group = _group(model.model_fields[name]) if model and name in model.model_fields else None
        if group and isinstance(value, Mapping):
            out |= given_in(group, value, source, f"{above}{name}.")
        else:
            out[f"{above}{name}"] = Given(value, source)
    return out


def fields_of(model: type[Settings], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Path and field of every setting, groups entered."""
    for name, field in model.model_fields.items():
        group = _group(field)
        if group:
            yield from fields_of(group, f"{above}{name}.")
        else:
            yield f"{above}{name}", field


def value_at(settings: Settings, path: str) -> Any:
    """The value of ``settings`` at ``path``."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def in_order(pair: tuple[int, int]) -> tuple[int, int]:
    """``pair``, fewest and most of something; ValueError when the fewest are more."""
    if pair[0] > pair[1]:
        raise ValueError(f"the fewest, {pair[0]}, are more than the most, {pair[1]}")
    return pair


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def nearest(model: type[Settings], path: str) -> list[str]:
    """The paths of settings whose names are most like ``path``."""
    paths = [known for known, _ in fields_of(model)]
    word = path.rpartition(".")[2]
    inside = [p for p in paths if len(word) > 2 and word in p]
    leaves = {p.rpartition(".")[2]: p for p in reversed(paths)}
    alike = [leaves[leaf] for leaf in get_close_matches(word, leaves, MOST_NEAREST)]
    found = [*get_close_matches(path, paths, MOST_NEAREST, 0.75), *inside, *alike]
    return list(dict.fromkeys(found))[:MOST_NEAREST]


def _group(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _nested(given: Mapping[str, Given]) -> dict[str, Any]:
    """``qc.robust`` as {"qc": {"robust": …}}, outer values before what stands in them."""
    out: dict[str, Any] = {}
    for path in sorted(given, key=lambda p: p.count(".")):
        *groups, name = path.split(".")
        inside = out
        for group in groups:
            below = inside.get(group)
            inside[group] = dict(below) if isinstance(below, Mapping) else {}
            inside = inside[group]
        inside[name] = given[path].value
    return out


def _refused(
    model: type[Settings], given: Mapping[str, Given], error: ValidationError
) -> UsageError:
    """One line for each wrong setting: what was expected, found, and where it was given."""
    faults: dict[str, list[str]] = {}
    unknown: list[str] = []
    known = [path for path, _ in fields_of(model)]
    for fault in error.errors():
        where = ".".join(map(str, fault["loc"]))
        path = next((p for p in known if where == p or where.startswith(f"{p}.")), where)
        if fault["type"] == "extra_forbidden":
            unknown.append(path)
            text = "there is no such setting"
        elif fault["type"] == "missing":
            text = "it has to be given, and is not"
        else:
            text = str(fault["msg"]).removeprefix("Value error, ").split(", unable to parse")[0]
            text = text.replace("Input should be a valid ", "it should be a ")
            text = text.replace("Input should be ", "it should be ")
        faults.setdefault(path, []).append(text)
    lines = [
        f"{path}{': ' if path else ''}{' or '.join(dict.fromkeys(texts))}{_told(path, given)}"
        for path, texts in faults.items()
    ]
    close = list(dict.fromkeys(name for path in unknown for name in nearest(model, path)))
    hint = f"the nearest names are {', '.join(close)}; " if close else ""
    return UsageError(
        "; ".join(lines),
        hint=f"{hint}phyda config show {model.command} prints every setting and what it may be",
    )


def _told(path: str, given: Mapping[str, Given]) -> str:
    found = next((given[p] for p in given if p == path or p.startswith(f"{path}.")), None)
    if not path or found is None:
        return ""
    return f", got {found.value!r} ({found.source})"

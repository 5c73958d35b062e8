"""What a setting may be and is, in the words of a command line."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from phyda_cli.settings.base import Settings, alternatives

__all__ = ["accepts", "as_toml", "default_text", "kinds", "text_of"]


def accepts(setting: FieldInfo) -> str:
    """What a setting may be, in short: ``oi|letkf``, ``INTEGER >=1``, ``NUMBER|none >0``."""
    bounds = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f" {sign}{getattr(rule, name):g}"
        for rule in setting.metadata
        for name, sign in bounds.items()
        if getattr(rule, name, None) is not None
    ]
    return kinds(setting) + "".join(limits)


def kinds(setting: FieldInfo) -> str:
    """The same without the range."""
    return "|".join(dict.fromkeys(_word(kind) for kind in alternatives(setting.annotation)))


def _word(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _word(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        times = 2 if rest == [...] else 1 + len(rest)
        return ",".join([_word(first)] * min(times, 2)) + (",…" if times > 2 or ... in rest else "")
    if isinstance(kind, type) and issubclass(kind, Settings):
        return "TABLE"
    words = {int: "INTEGER", float: "NUMBER", bool: "true|false", types.NoneType: "none"}
    return words.get(kind, "TEXT")


def default_text(setting: FieldInfo) -> str:
    """The default as one would type it."""
    return text_of(setting.get_default(call_default_factory=True))


def text_of(value: object) -> str:
    """A value as ``--set`` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ",".join(text_of(v) for v in value) or "none"
    return str(value)


def as_toml(value: object) -> str:
    """A value of a setting as TOML; ``None`` as the word that stands for it."""
    if value is None:
        return '"none"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)

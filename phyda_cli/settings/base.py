"""Base of all settings, and how a TOML file and flags become one of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from phyda_cli.errors import InputError, UsageError

__all__ = ["Settings", "load_settings"]


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def load_settings(
    model: type[S], path: Path | None, overrides: dict[str, object], preset: S | None = None
) -> S:
    """Settings from a TOML file with ``overrides`` on top, nested as the settings are; None in
    ``overrides`` counts as not given. What neither has is taken from ``preset``.

    Raises InputError when the file is missing or no TOML, UsageError for unknown or invalid fields.
    """
    values: dict[str, object] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        below = preset.model_dump(exclude_unset=True) if preset else {}
        return model.model_validate(_merged(below, _merged(values, overrides)))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UsageError(
            "; ".join(lines), hint=f"fields are those of {model.__name__} in phyda_cli/settings/"
        ) from error


def _merged(values: dict[str, object], overrides: dict[str, object]) -> dict[str, object]:
    out = dict(values)
    for key, value in overrides.items():
        if isinstance(value, dict):
            below = out.get(key, {})
            out[key] = _merged(below, value) if isinstance(below, dict) else below
        elif value is not None:
            out[key] = value
    return out

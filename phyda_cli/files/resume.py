"""What a resumable folder holds, so that a second call continues the same work and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phyda_cli.errors import InputError, UsageError
from phyda_cli.files.publish import publish_text

__all__ = ["changed", "claim", "read_record"]


def claim(folder: Path, record: Mapping[str, object]) -> None:
    """Write ``record`` to ``folder/run.json``, or check that the one there is the same. Raises
    UsageError when it differs, InputError when it is damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    if not path.exists():
        publish_text(path, json.dumps(record, indent=1))
    elif different := changed(read_record(path), record):
        raise UsageError(
            f"{folder} holds a run with other {', '.join(different)} (see {path})",
            hint="choose another --out, or remove the folder",
        )


def changed(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The keys whose values differ, as they would in a JSON file."""
    now = json.loads(json.dumps(now))
    return [key for key in {**now, **before} if now.get(key) != before.get(key)]


def read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError when it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", hint="choose another --out, or remove the folder"
        ) from error

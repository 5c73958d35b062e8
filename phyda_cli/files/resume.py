"""What a resumable folder holds, so that a second call continues the same work and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from phyda_cli.errors import InputError, UsageError

__all__ = ["claim"]


def claim(folder: Path, record: Mapping[str, object]) -> None:
    """Write ``record`` to ``folder/run.json``, or check that the one there is the same. Raises
    UsageError when it differs, InputError when it is damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    text = json.dumps(record, indent=1)
    if not path.exists():
        partial = path.with_suffix(".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        return
    own = json.loads(text)
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", hint="choose another --out, or remove the folder"
        ) from error
    if found != own:
        different = ", ".join(k for k in own | found if own.get(k) != found.get(k))
        raise UsageError(
            f"{folder} holds a run with other {different} (see {path})",
            hint="choose another --out, or remove the folder",
        )

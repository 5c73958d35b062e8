"""How every benchmark ends: its numbers in a file where one is wanted, and an exit code that says
whether the bars were met."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["finish", "write"]


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write ``result`` to ``path`` as JSON, with the day and the commit of the code."""
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=7", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    measured = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = json.dumps({**result, "measured": measured, "commit": commit}, indent=1)
    path.write_text(text, encoding="utf-8")


def finish(
    missed: Sequence[str], result: Mapping[str, Any] | None = None, path: Path | None = None
) -> NoReturn:
    """Write ``result`` to ``path`` as JSON, say which bars were ``missed`` and exit, 1 when any
    was."""
    if path is not None and result is not None:
        write(path, result)
    print("bars: " + (f"missed: {'; '.join(missed)}" if missed else "all met"))
    raise SystemExit(bool(missed))

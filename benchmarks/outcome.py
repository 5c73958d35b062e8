"""How every benchmark ends: its numbers in a file where one is wanted, and an exit code that says
whether the bars were met."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["finish"]


def finish(missed: Sequence[str], result: Any = None, path: Path | None = None) -> NoReturn:
    """Write ``result`` to ``path`` as JSON, say which bars were ``missed`` and exit, 1 when any
    was."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print("bars: " + (f"missed: {'; '.join(missed)}" if missed else "all met"))
    raise SystemExit(bool(missed))

"""Where commands print: results on stdout, everything else on stderr. Plain UTC lines where there
is no terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "emit", "emit_json", "emit_text", "files_of", "say", "silence", "warn"]


def console() -> Console:
    """A rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


def say(message: str) -> None:
    """A progress message on stderr; with UTC time where stderr is no terminal."""
    stamp = "" if sys.stderr.isatty() else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ ")
    print(f"{stamp}{message}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """A warning on stderr."""
    say(f"WARNING: {message}")


def silence() -> None:
    """Say nothing more in this process: another one speaks for it."""
    sys.stdout = sys.stderr = io.StringIO()


def emit(table: Table) -> None:
    """A result table on stdout, not cut to a width where stdout is no terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(table)


def emit_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(result, indent=1, allow_nan=False))


def emit_text(text: str, out: Path | None, overwrite: bool) -> None:
    """``text`` in the file ``out``, or on stdout where there is none."""
    if out is None:
        print(text, end="")
        return
    from phyda_cli.files.publish import publish_text

    publish_text(out, text, overwrite)
    say(f"wrote {out}")


def files_of(patterns: Sequence[Path | str]) -> list[Path]:
    """The files that paths and patterns mean, each once; one that is named twice is told."""
    from phyda_cli.observations.files import expand

    files, warnings = expand(patterns)
    for warning in warnings:
        warn(warning)
    return files

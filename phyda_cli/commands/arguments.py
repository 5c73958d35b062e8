"""What command lines have in common: options that several commands take, and texts that become
times, renames and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phyda_cli.commands.console import warn
from phyda_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "AsJson",
    "Checkpoint",
    "Decimal",
    "NetworkFile",
    "ObsMap",
    "Overwrite",
    "check_name",
    "files_of",
    "parse_pairs",
    "parse_renames",
    "parse_time",
]

OUTPUT, METHOD, INPUT = "Output", "Method", "Input"
OTHER_FORMATS = {
    **dict.fromkeys((".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2", ".gb2"), "GRIB"),
    ".csv": "CSV",
    **dict.fromkeys((".txt", ".json", ".parquet"), "a table"),
    **dict.fromkeys((".png", ".pdf", ".svg"), "a picture"),
    **dict.fromkeys((".bufr", ".bfr", ".odb", ".odb2"), "observations"),
    **dict.fromkeys((".zarr",), "Zarr"),
    **dict.fromkeys((".gz", ".bz2", ".zip", ".tar"), "a compressed file"),
}

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Model folder. [default: the bundled one]",
        envvar="PHYDA_CHECKPOINT",
        show_envvar=False,
        rich_help_panel=METHOD,
        readable=False,
    ),
]
NetworkFile = Annotated[
    Path,
    typer.Option(
        "--network",
        metavar="FILE",
        help="A list of stations (CSV), or a file of observations whose values and times do not "
        "matter.",
        rich_help_panel=INPUT,
        readable=False,
    ),
]
ObsMap = Annotated[
    list[str] | None,
    typer.Option(
        "--obs-map",
        metavar="FILE",
        help="TOML file that maps CSV columns to variables and units; for some of the files "
        "only: 'metar*=FILE'. May be given several times.",
        rich_help_panel=INPUT,
    ),
]
Decimal = Annotated[
    list[str] | None,
    typer.Option(
        "--decimal",
        help="point or comma, of the numbers in text tables; for some of the files only: "
        "'*.txt=comma'. [default: told from the file]",
        rich_help_panel=INPUT,
        hidden=True,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=OUTPUT)
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object instead of tables.", rich_help_panel=OUTPUT),
]


def parse_time(text: str | None, option: str) -> np.datetime64 | None:
    """An ISO 8601 time, taken as UTC. Raises UsageError naming ``option``."""
    import numpy as np

    if text is None:
        return None
    try:
        return np.datetime64(text.strip().removesuffix("Z"), "s")
    except ValueError as error:
        raise UsageError(
            f"{option}: {text!r} is not a time", hint=f"for example {option} 2020-10-01T06:00"
        ) from error


def parse_renames(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=CANONICAL`` texts as a dictionary. Raises UsageError for other texts."""
    return parse_pairs("--rename", pairs, "NAME=CANONICAL", "TMP_P0_L100=t")


def parse_pairs(option: str, pairs: Sequence[str], form: str, example: str) -> dict[str, str]:
    """Texts such as ``NAME=VALUE`` as a dictionary. Raises UsageError for those that have not this
    ``form``, with the ``example``."""
    out = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator and value):
            raise UsageError(
                f"{option} {pair!r}: expected {form}", hint=f"for example {option} {example}"
            )
        out[name] = value
    return out


def check_name(path: Path | None, option: str, *also: str) -> None:
    """Raise UsageError where the name of a NetCDF output says another format than this or
    ``also``."""
    said = OTHER_FORMATS.get(path.suffix.lower()) if path else None
    if path and said and said not in also:
        raise UsageError(
            f"{option} {path}: the name says {said}, and phyda writes NetCDF",
            hint=f"use {option} {path.with_suffix('.nc')}",
        )


def files_of(patterns: Sequence[Path | str]) -> list[Path]:
    """The files that paths and patterns mean, each once; a file named twice gets a warning."""
    from phyda_cli.observations.files import expand

    files, warnings = expand(patterns)
    for warning in warnings:
        warn(warning)
    return files

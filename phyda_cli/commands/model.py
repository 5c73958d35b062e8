"""``phyda model``: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.console import emit, emit_json, emit_text, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

__all__ = ["model"]

model = typer.Typer(no_args_is_help=True, help="Look at a checkpoint, write its model card.")

Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CKPT]",
        help="Checkpoint folder. [default: the bundled one]",
        envvar="PHYDA_CHECKPOINT",
        show_envvar=True,
        readable=False,
    ),
]


@model.command()
def inspect(
    checkpoint: Folder = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Variables, levels, grid, training data, scores, licence and hashes of a checkpoint, and what
    a background must contain.

    Every file is compared with its hash in model.json.

    Examples:

      phyda model inspect

      phyda model inspect runs/era5-64x32/checkpoint --json
    """
    facts = _facts(checkpoint)
    if as_json:
        emit_json(facts)
        return
    for table in _tables(facts):
        emit(table)
    if facts["not_recorded"]:
        say(f"not recorded in this checkpoint: {', '.join(facts['not_recorded'])}")


@model.command()
def card(
    checkpoint: Folder = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: print it]", readable=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.")
    ] = False,
) -> None:
    """A model card in Markdown, from what the checkpoint records.

    Example:

      phyda model card runs/era5-64x32/checkpoint --out card.md
    """
    from phyda_cli.files.publish import check_target
    from phyda_cli.model.card import card as text_of

    if out is not None:
        check_target(out, overwrite)
    emit_text(text_of(_facts(checkpoint)), out, overwrite)


def _facts(path: Path | None) -> dict[str, Any]:
    from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
    from phyda_cli.model.description import describe

    return describe(Checkpoint.open(path or BUNDLED))


def _tables(facts: dict[str, Any]) -> Iterable[Table]:
    from phyda_cli.commands.tables import new_table, value_table
    from phyda_cli.model.card import mean_error_text

    lat, lon = facts["grid"]["latitude"], facts["grid"]["longitude"]
    training, networks, members = facts["training"], facts["networks"], facts["members"]
    yield value_table(
        f"{facts['name']} ({facts['path']})",
        {
            "grid": f"{lon['count']}x{lat['count']}, "
            + ("global" if facts["grid"]["global"] else "limited area"),
            "latitude": f"{lat['first']:g} to {lat['last']:g}",
            "longitude": f"{lon['first']:g} to {lon['last']:g}",
            "members": f"{members['count']}, {members['first']} to {members['last']}",
            "parameters": ", ".join(
                f"{name} {network['parameters']:,}" for name, network in networks.items()
            ),
            "mean error": mean_error_text(facts) or "not corrected",
            "licence": facts["license"] or "not stated",
            "SHA-256": facts["sha256"],
        },
    )
    table = new_table(
        f"State: {facts['channels']} channels",
        ("variable", "meaning", "units", "levels in hPa"),
        (),
    )
    for v in facts["variables"]:
        table.add_row(
            v["name"],
            v["long_name"],
            v["units"],
            " ".join(f"{p:g}" for p in v["levels_hPa"]) if v["levels_hPa"] else "surface",
        )
    yield table
    needs = facts["background"]
    yield value_table(
        "A background",
        {name: needs[name] for name in ("required", "levels", "without")}
        | {"helpful": ", ".join(needs["helpful"])},
    )
    names = {
        "source": "source",
        "first": "first",
        "last": "last",
        "pairs": "pairs",
        "pairs_kind": "kind of pairs",
    }
    names |= {"data_license": "licence", "references": "references", "hardware": "hardware"}
    yield value_table("Training data", {text: training[name] for name, text in names.items()})
    if facts["scores"]:
        yield value_table(
            "Validation", {name: f"{value:.4f}" for name, value in facts["scores"].items()}
        )
    table = new_table("Files, all as their SHA-256 says", ("file",), ())
    for name, f in facts["files"].items():
        table.add_row(f"{name}, {f['bytes']:,} bytes\n  {f['sha256']}")
    yield table

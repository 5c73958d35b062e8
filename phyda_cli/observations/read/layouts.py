"""Well-known exports of observations, each described by a mapping file with the columns it is known
by: ``layouts/*.toml``. They are examples of mapping files too."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import Field

from phyda_cli.observations.read.columns import Column, ObservationMap

__all__ = ["FOLDER", "Layout", "example", "layout_of"]

FOLDER = Path(__file__).parent / "layouts"


class Layout(ObservationMap):
    """A map with the ``name`` of what writes such tables, known by having ``all`` of some columns
    and one of ``any``."""

    name: str
    all: tuple[str, ...]
    any: tuple[str, ...] = ()
    ignored: tuple[str, ...] = Field(default=(), description="Columns that are not worth telling.")

    def fits(self, header: Sequence[str]) -> bool:
        """Whether a table with this header is one of these."""
        exact, found = set(header), {name.casefold() for name in header}
        some = not self.any or any(name.casefold() in found for name in self.any)
        return some and all(name in exact or name.casefold() in found for name in self.all)

    def present(self, header: Sequence[str]) -> ObservationMap:
        """The map of those columns that the table has: an export may hold fewer."""
        found = {name.casefold() for name in header}

        def kept(column: Column | None) -> bool:
            return column is not None and (
                column.column is None or column.column.casefold() in found
            )

        fields = {name: getattr(self, name) for name in ObservationMap.model_fields}
        lost = {
            name: None
            for name, value in fields.items()
            if isinstance(value, Column) and not kept(value)
        }
        variables = {name: column for name, column in self.variables.items() if kept(column)}
        return ObservationMap.model_construct(**fields | lost | {"variables": variables})


def example(name: str) -> str:
    """The layout ``name`` as a mapping file: without the lines that say how it is recognised."""
    lines = (FOLDER / f"{name}.toml").read_text("utf-8").splitlines()
    own = ("name =", "all =", "any =", "ignored =")
    return "\n".join(line for line in lines if not line.startswith(own)) + "\n"


@cache
def _layouts() -> tuple[Layout, ...]:
    paths = sorted(FOLDER.glob("*.toml"))
    return tuple(Layout.model_validate(tomllib.loads(p.read_text("utf-8"))) for p in paths)


def layout_of(header: Sequence[str]) -> Layout | None:
    """The layout that a table with this header has, or None."""
    return next((layout for layout in _layouts() if layout.fits(header)), None)

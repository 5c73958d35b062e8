"""What the folded parts of the report are made of."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from phyda_cli.verification.charts import to_png

__all__ = ["Block", "Section", "TableRow", "picture"]


@dataclass(frozen=True)
class TableRow:
    """Cells of a table; ``grey`` where they are not independent."""

    cells: Sequence[str]
    grey: bool = False


@dataclass(frozen=True)
class Block:
    """A picture (base64), a sentence, fixed text, or a table with the first ``left`` columns
    names and the columns ``words`` text."""

    picture: str = ""
    width: int = 1000
    alt: str = ""
    caption: str = ""
    text: str = ""
    pre: str = ""
    header: Sequence[str] = ()
    rows: Sequence[TableRow] = ()
    left: int = 1
    words: Sequence[int] = ()
    sortable: bool = False


@dataclass(frozen=True)
class Section:
    """One folded part."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    open: bool = False


def picture(figure: Figure, alt: str, caption: str) -> Block:
    """A figure as a block."""
    width = round(figure.get_figwidth() * 100)
    return Block(base64.b64encode(to_png(figure)).decode(), width, alt, caption)

"""The result tables that ``phyda verify`` and ``phyda demo`` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.readable import READABLE

if TYPE_CHECKING:
    from rich.table import Table

    from phyda_cli.verification.departures import Departure
    from phyda_cli.verification.fields import FieldScore

__all__ = ["departure_table", "field_table", "filled", "group_table", "new_table", "number"]


_Column = Callable[[Any, float], str]


def new_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """An empty table with columns of names to the ``left`` and of numbers to the ``right``."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1), pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def number(value: float | None, scale: float = 1.0, form: str = ".3g") -> str:
    """Few digits, and no exponent where it can be had: 1234, 12.3, 0.0123, 1.2e-06."""
    if value is None:
        return "–"
    text = format(value * scale, form)
    return format(value * scale, form[:-2].rstrip(".") + ".0f") if "e+0" in text else text


def filled(columns: dict[str, _Column], rows: Sequence[Any]) -> dict[str, _Column]:
    """The columns that some row fills."""
    return {
        name: text for name, text in columns.items() if any(text(row, 1.0) != "–" for row in rows)
    }


def _add_mean_ratio(
    table: Table, rows: Sequence[Any], left: Sequence[str], columns: Iterable[str]
) -> None:
    """A last row with the mean of the rows' ratios, where there is one."""
    ratio = mean_ratio(row.ratio for row in rows)
    if ratio is not None:
        table.add_section()
        table.add_row(
            *left, *(number(ratio, form=".3f") if name == "ratio" else "" for name in columns)
        )


def field_table(
    scores: Sequence[FieldScore], title: str, only: Sequence[str] | None = None
) -> Table:
    """Scores by variable and level (``only`` some of them), and the mean ratio of them all; columns
    without content are left out."""
    columns = filled(
        {
            "rmse bg": lambda s, f: number(s.background_rmse, f),
            "rmse an": lambda s, f: number(s.rmse, f),
            "ratio": lambda s, f: number(s.ratio, form=".3f"),
            "bias bg": lambda s, f: number(s.background_bias, f, "+.2g"),
            "bias an": lambda s, f: number(s.bias, f, "+.2g"),
            "spread/rmse": lambda s, f: number(s.spread_skill, form=".2f"),
            "crps": lambda s, f: number(s.crps, f),
        },
        scores,
    )
    table = new_table(title, ("field", "units"), list(columns))
    for s in scores:
        if only is None or s.channel in only:
            units, scale = READABLE.get(s.units, (s.units, 1.0))
            table.add_row(s.channel, units, *(text(s, scale) for text in columns.values()))
    _add_mean_ratio(table, scores, (f"mean of {len(scores)}", ""), columns)
    return table


def departure_table(departures: Sequence[Departure], title: str) -> Table:
    """O-B and O-A by variable, and the mean ratio; columns without content are left out."""
    columns = filled(_DEPARTURES, departures)
    table = new_table(title, ("variable", "units"), ["n", *columns])
    for d in departures:
        table.add_row(*_departure_row(d, columns))
    _add_mean_ratio(table, departures, ("mean", "", ""), columns)
    return table


def group_table(groups: Mapping[str, Sequence[Departure]], title: str, kind: str) -> Table:
    """The main columns of :func:`departure_table` by group, of some ``kind``, and variable."""
    main = {
        name: _DEPARTURES[name] for name in ("rms O-B", "rms O-A", "mean O-B", "chi2", "inflate")
    }
    columns = filled(main, [d for rows in groups.values() for d in rows])
    table = new_table(title, (kind, "variable", "units"), ["n", *columns])
    for label, rows in groups.items():
        for i, d in enumerate(rows):
            table.add_row("" if i else label, *_departure_row(d, columns))
        table.add_section()
    return table


_DEPARTURES: dict[str, _Column] = {
    "rms O-B": lambda d, f: number(d.ombg_rms, f),
    "rms O-A": lambda d, f: number(d.oman_rms, f),
    "ratio": lambda d, f: number(d.ratio, form=".3f"),
    "mean O-B": lambda d, f: number(d.ombg_mean, f, "+.2g"),
    "mean O-A": lambda d, f: number(d.oman_mean, f, "+.2g"),
    "chi2": lambda d, f: number(d.chi2, form=".2f"),
    "inflate": lambda d, f: number(d.inflation, form=".2f"),
    "error": lambda d, f: number(d.error, f),
    "sigma_o": lambda d, f: number(d.sigma_o, f),
    "sigma_b": lambda d, f: number(d.sigma_b, f),
}


def _departure_row(d: Departure, columns: Mapping[str, _Column]) -> list[str]:
    units, scale = READABLE.get(d.units, (d.units, 1.0))
    return [d.variable, units, str(d.n), *(text(d, scale) for text in columns.values())]

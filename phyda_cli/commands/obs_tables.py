"""Tables of ``phyda obs inspect``."""

from __future__ import annotations

from typing import Any

from rich.table import Table

__all__ = ["inventory_tables"]

_HOURS = 24


def inventory_tables(report: dict[str, Any]) -> list[Table]:
    """By variable with ranges, then the other counts in one table."""
    rows = report["rows"]
    title = (
        f"{rows['read']} rows read: {rows['with_values']} with values, {rows['without_values']} "
        f"without, {rows['unreadable']} unreadable; "
        f"{report['stations']} stations"
    )
    reasons = list(report["rejected"])
    variables = Table(title=title, title_justify="left")
    for name in (
        "variable",
        "units",
        "in",
        "used",
        "passive",
        *reasons,
        "min",
        "median",
        "max",
        "own error",
    ):
        variables.add_column(name, justify="left" if name in ("variable", "units") else "right")
    for name, c in report["by_variable"].items():
        numbers = [f"{c[k]:.5g}" if k in c else "" for k in ("min", "median", "max")]
        variables.add_row(name, c["units"], *_counts(c, reasons), *numbers, str(c["own_error"]))
    variables.add_section()
    variables.add_row("all", "", *_counts(report, reasons))

    others = Table(title=_extent(report["extent"]), title_justify="left")
    for name in ("by", "", "in", "used", "passive", *reasons):
        others.add_column(name, justify="left" if name in ("by", "") else "right")
    for kind in ("type", "level", "time", "region"):
        groups = list(report[f"by_{kind}"].items())
        for i, (label, c) in enumerate(groups[:_HOURS]):
            others.add_row("" if i else kind, label, *_counts(c, reasons))
        if len(groups) > _HOURS:
            others.add_row("", f"… and {len(groups) - _HOURS} more")
        others.add_section()
    return [variables, others]


def _counts(c: dict[str, Any], reasons: list[str]) -> list[str]:
    return [
        str(n)
        for n in (c["in"], c["used"], c["passive"], *(c["rejected"].get(r, 0) for r in reasons))
    ]


def _extent(extent: dict[str, Any]) -> str:
    if not extent:
        return "no good observation"
    (south, north), (west, east) = extent["latitude"], extent["longitude"]
    return (
        f"{extent['time'][0]} to {extent['time'][1]}, latitudes {south:g} to {north:g}, "
        f"longitudes {west:g} to {east:g}"
    )

"""The tables of ``phyda verify --physics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from phyda_cli.commands.tables import filled, new_table, number, readable_units

if TYPE_CHECKING:
    from rich.table import Table

    from phyda_cli.verification.physics import EquationScore, PhysicsReport, ViolationScore

__all__ = ["physics_tables"]

_SHORT = {
    "hydrostatic": "hydrost.",
    "momentum_u": "mom. u",
    "momentum_v": "mom. v",
    "thermodynamic": "thermod.",
    "geostrophic_u": "geo. u",
    "geostrophic_v": "geo. v",
}
_KINDS = {"negative_q": "q < 0", "supersaturated": "q > q_sat", "unstable": "unstable"}
_STATES = ("background", "analysis", "members", "truth")


def physics_tables(report: PhysicsReport, name: str) -> list[Table]:
    """Residuals by equation, the same by place, and violations, of the analysis ``name``."""
    tables = []
    if report.equations:
        tables += [_by_equation(report, name), _by_place(report)]
    if report.violations:
        tables.append(_violations(report))
    return tables


def _by_equation(report: PhysicsReport, name: str) -> Table:
    everywhere = [s for s in report.equations if s.level is None and s.band is None]
    columns = filled(
        {
            "bg": lambda s, f: number(s.background, f),
            "an": lambda s, f: number(s.analysis, f),
            "mem": lambda s, f: number(s.members, f),
            "truth": lambda s, f: number(s.truth, f),
            "ratio bg": lambda s, f: number(
                s.background_ratio if report.reference == "truth" else None, form=".3f"
            ),
            "ratio": lambda s, f: number(s.ratio, form=".3f"),
            "ratio mem": lambda s, f: number(s.members_ratio, form=".3f"),
            "excess": lambda s, f: number(s.excess, form=".3f"),
            "excess mem": lambda s, f: number(s.members_excess, form=".3f"),
        },
        everywhere,
    )
    against = f", ratio to the {report.reference}" if report.reference else ""
    table = new_table(
        f"Physics of {name}: rms of residuals{against}", ("equation", "units"), list(columns)
    )
    for s in everywhere:
        units, scale = readable_units(s.units)
        table.add_row(s.equation, units, *(text(s, scale) for text in columns.values()))
    return table


def _by_place(report: PhysicsReport) -> Table:
    """Rows of bands and levels, a column for each equation; a layer stands in the row of its lower
    level."""
    equations = list(dict.fromkeys(s.equation for s in report.equations))
    shown: Callable[[EquationScore], str]
    if report.reference == "truth":
        title = "ratio to the truth and excess"
        shown = lambda s: f"{number(s.ratio, form='.2f')} {number(s.excess, form='.2f')}"  # noqa: E731
    elif report.reference:
        title, shown = f"ratio to the {report.reference}", lambda s: number(s.ratio, form=".2f")
    else:
        title, shown = "rms", lambda s: number(s.analysis, readable_units(s.units)[1])
    table = new_table(
        f"The same by latitude and level (hPa), analysis: {title}",
        ("",),
        [_SHORT.get(e, e) for e in equations],
    )
    _fill(table, report, equations, report.equations, lambda s: s.equation, shown)
    return table


def _violations(report: PhysicsReport) -> Table:
    kinds = list(dict.fromkeys(s.kind for s in report.violations))
    table = new_table("Where it cannot be: % of area (points)", ("",), [_KINDS[k] for k in kinds])
    everywhere = {s.kind: s for s in report.violations if s.level is None and s.band is None}
    for state in _STATES:
        cells = [
            (getattr(everywhere[k], state), getattr(everywhere[k], f"{state}_count", None))
            for k in kinds
        ]
        if any(part is not None for part, _ in cells):
            table.add_row(
                state,
                *(
                    number(part, 100.0) + ("" if count is None else f" ({count})")
                    for part, count in cells
                ),
            )
    table.add_section()

    def shown(s: ViolationScore) -> str:
        return number(s.analysis, 100.0) + (f" ({s.analysis_count})" if s.analysis_count else "")

    _fill(table, report, kinds, report.violations, lambda s: s.kind, shown)
    return table


def _fill(
    table: Table,
    report: PhysicsReport,
    columns: Iterable[str],
    scores: Iterable[Any],
    column: Callable[[Any], str],
    shown: Callable[[Any], str],
) -> None:
    """Rows of the latitude bands, and of the levels, that ``scores`` have."""
    cells: dict[str, dict[str, str]] = {}
    levels = [f"{p / 100:g}" for p in report.layout.levels]
    for s in scores:
        if s.band or s.level:
            cells.setdefault(s.band or s.level.split("-")[-1], {})[column(s)] = shown(s)
    for row in [*(r for r in cells if r not in levels), *levels]:
        if row in cells:
            table.add_row(
                row, *(cells[row].get(c, "") for c in columns), end_section=row == levels[-1]
            )

"""The table of ``phyda verify --physics``; latitudes and levels are in the JSON object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.screen import TextTable, number

if TYPE_CHECKING:
    from phyda_cli.verification.physics import EquationScore, PhysicsReport

__all__ = ["physics_table"]

_KINDS = {"negative_q": "q < 0", "supersaturated": "q > q_sat", "unstable": "unstable"}


def physics_table(report: PhysicsReport, name: str) -> TextTable:
    """Residuals by equation, and the parts of the area where the states cannot be [%], of the
    analysis ``name``; columns without content are left out."""
    columns: dict[str, Callable[[EquationScore, float], str]] = {
        "bg": lambda s, f: _scaled(s.background, f),
        "an": lambda s, f: _scaled(s.analysis, f),
        "truth": lambda s, f: _scaled(s.truth, f),
        "ratio bg": lambda s, f: number(
            s.background_ratio if report.reference == "truth" else None, ".3f"
        ),
        "ratio": lambda s, f: number(s.ratio, ".3f"),
        "excess": lambda s, f: number(s.excess, ".3f"),
        "members": lambda s, f: _scaled(s.members, f),
    }
    scores = [s for s in report.equations if s.level is None and s.band is None]
    violations = [v for v in report.violations if v.level is None and v.band is None]
    filled = {n: t for n, t in columns.items() if any(t(s, 1.0) != "–" for s in scores)}
    rows = []
    for s in scores:
        units, factor = READABLE.get(s.units, (s.units, 1.0))
        rows.append([s.equation, units, *(text(s, factor) for text in filled.values())])
    for v in violations:
        parts = {"bg": v.background, "an": v.analysis, "members": v.members, "truth": v.truth}
        cells = (_scaled(parts.get(n), 100.0) if n in parts else "" for n in filled or ("an",))
        rows.append([_KINDS[v.kind], "% of area", *cells])
    against = f", ratio to the {report.reference}" if report.reference else ""
    header = ("equation", "units", *(filled or ("an",)))
    return TextTable(f"physics of {name}: rms of residuals{against}", header, rows)


def _scaled(value: float | None, factor: float) -> str:
    return number(None if value is None else value * factor)

"""What a training store holds, as tables."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from phyda_cli.commands.console import emit

__all__ = ["show"]


def show(found: dict[str, Any]) -> None:
    """Print the result of ``inspect_store``."""
    table = Table(title=found["path"], show_header=False)
    for name, text in _lines(found):
        table.add_row(name, text)
    emit(table)
    if found["statistics"]:
        emit(_statistics(found["statistics"]))


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    grid, states, pairs = found["grid"], found["states"], found["pairs"]
    area = (
        "global"
        if grid["global"]
        else f"{grid['latitude'][0]:g} to {grid['latitude'][1]:g} N, {grid['longitude'][0]:g} to "
        f"{grid['longitude'][1]:g} E"
    )
    upper = [
        f"{v} {', '.join(f'{p:g}' for p in levels)} hPa"
        for v, levels in found["variables"].items()
        if levels
    ]
    surface = [v for v, levels in found["variables"].items() if not levels]
    missing = (
        "not recorded"
        if states["missing_values"] is None
        else f"{states['missing_values']} values in {states['with_missing_values']} states"
    )
    step = (
        ""
        if states["step_hours"] is None
        else f", every {states['step_hours']:g} h with {states['gaps']} gaps"
    )
    split = pairs["split"] or {}
    return [
        ("source", f"{found['source'] or 'not stated'}, {found['files']} files"),
        ("size", f"{found['bytes'] / 1e6:.0f} MB, {states['packing']}, format {found['format']}"),
        (
            "grid",
            f"{grid['columns']}x{grid['rows']}, {area}"
            + (f", {'/'.join(grid['regridding'])}" if grid["regridding"] else ""),
        ),
        ("variables", "\n".join([*upper, ", ".join(surface)] if surface else upper)),
        ("states", f"{states['count']}, {states['first']} to {states['last']}{step}"),
        ("missing", missing),
        ("pairs", ", ".join(f"{n} {kind}" for kind, n in pairs["kinds"].items())),
        ("lead times", ", ".join(f"{h} h: {n}" for h, n in pairs["leads"].items())),
        (
            "split",
            "\n".join(
                f"{name}: {s['pairs']}, {s['first']} to {s['last']}" for name, s in split.items()
            )
            or "by phyda train",
        ),
        (
            "static members",
            ", ".join(f"{s}: {n}" for s, n in (pairs["static_members"] or {}).items())
            or "by phyda train",
        ),
    ]


def _statistics(statistics: dict[str, Any]) -> Table:
    table = Table(title="area-weighted, of the training pairs")
    for name in ("channel", "mean", "std", "background std", "units"):
        table.add_column(name, justify="left" if name in ("channel", "units") else "right")
    for key, s in statistics.items():
        table.add_row(key, *(f"{s[n]:.5g}" for n in ("mean", "std", "background_std")), s["units"])
    return table

"""The tables that commands print: one way to write numbers, the same units in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.readable import READABLE

if TYPE_CHECKING:
    from rich.table import Table

    from phyda_cli.observations.departures import Departure
    from phyda_cli.verification.fields import FieldScore

__all__ = [
    "bias_text",
    "departure_table",
    "field_table",
    "filled",
    "inventory_tables",
    "left_out_text",
    "new_table",
    "number",
    "observation_table",
    "readable_units",
    "simulated_table",
    "store_tables",
    "summary_table",
    "value_table",
    "verdict_text",
]

MOST_GROUPS = 24  # rows of one kind of group
MOST_NAMED = 8  # stations in a line


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


def value_table(title: str, rows: Mapping[str, object]) -> Table:
    """Names and what belongs to them; long texts are wrapped."""
    table = new_table(title, ("name", "value"), ())
    table.show_header, table.columns[1].no_wrap = False, False
    for name, value in rows.items():
        table.add_row(name, "–" if value in (None, "") else str(value))
    return table


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
            units, scale = readable_units(s.units)
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
    units, scale = readable_units(d.units)
    return [d.variable, units, str(d.n), *(text(d, scale) for text in columns.values())]


def observation_table(report: Mapping[str, Any]) -> Table:
    """Counts by variable: in, used, passive, and rejected by reason, and the rows of the files they
    came from."""
    counts = report["observations"]
    table = _count_table(_rows_read(report["rows"]), ("observations",))
    for name, c in counts["variables"].items():
        table.add_row(name, *_counts(c))
    table.add_section()
    table.add_row("all", *_counts(counts))
    return table


def summary_table(report: Mapping[str, Any]) -> Table:
    """rms of O-B and O-A by variable, for used and passive observations, as ``phyda assimilate``
    reports them."""
    from phyda_cli.names import OBSERVABLES

    left = ("observations", "variable", "units")
    table = new_table("Departures (rms)", left, ("n", "O-B", "O-A", "ratio"))
    for kind, variables in report["departures"].items():
        for i, (name, d) in enumerate(variables.items()):
            units, scale = readable_units(OBSERVABLES[name].units if name in OBSERVABLES else "")
            before, after = d["ombg_rms"], d["oman_rms"]
            texts = (number(before, scale), number(after, scale))
            ratio = number(after / before if before else None, form=".3f")
            table.add_row("" if i else kind, name, units, str(d["n"]), *texts, ratio)
        table.add_section()
    return table


def inventory_tables(report: Mapping[str, Any]) -> list[Table]:
    """``phyda obs inspect``: counts and ranges by variable, then the other counts in one table."""
    title = f"{_rows_read(report['rows'])}; {report['stations']} stations"
    variables = _count_table(title, ("variable",))
    for name, c in report["by_variable"].items():
        variables.add_row(name, *_counts(c))
    variables.add_section()
    variables.add_row("all", *_counts(report))
    columns = ("min", "median", "max", "errors given")
    ranges = new_table("Values that passed", ("variable", "units"), columns)
    for name, c in report["by_variable"].items():
        units, scale = readable_units(c["units"])
        numbers = [number(c.get(k), scale, ".5g") for k in columns[:3]]
        ranges.add_row(name, units, *numbers, str(c["own_error"]))
    others = _count_table(_extent(report["extent"]), ("by", ""))
    for kind in ("type", "level", "time", "region"):
        groups = list(report[f"by_{kind}"].items())
        for i, (label, c) in enumerate(groups[:MOST_GROUPS]):
            others.add_row("" if i else kind, label, *_counts(c))
        if len(groups) > MOST_GROUPS:
            others.add_row("", f"… and {len(groups) - MOST_GROUPS} more")
        others.add_section()
    return [variables, ranges, others]


def simulated_table(account: Mapping[str, Any]) -> Table:
    """``phyda obs simulate``: what was simulated and left out, by variable."""
    table = new_table("Simulated observations", ("variable",), ("stations", "simulated"))
    table.add_column("left out", justify="right")
    table.add_column("why")
    rows = {**account["variables"], "all": account}
    for name, c in rows.items():
        if name == "all":
            table.add_section()
        why = ", ".join(f"{n} {reason}" for reason, n in c["reasons"].items())
        left_out = str(sum(c["reasons"].values()))
        table.add_row(name, str(c["stations"]), str(c["simulated"]), left_out, why)
    return table


def left_out_text(group: Mapping[str, Any]) -> str:
    """Which stations have no observation of a variable, and why."""
    stations = group["stations"]
    shown = ", ".join(stations[:MOST_NAMED])
    more = len(stations) - MOST_NAMED
    shown += f" and {more} more" if more > 0 else ""
    return f"{group['observations']} {group['variable']} of {shown}: {group['reason']}"


def store_tables(found: Mapping[str, Any]) -> list[Table]:
    """``phyda preprocess inspect``: what a training store holds."""
    tables = [value_table(found["path"], dict(_store_lines(found)))]
    if found["statistics"]:
        columns = {"mean": "mean", "std": "std", "background std": "background_std"}
        title = "Statistics of the training pairs, weighted by area"
        table = new_table(title, ("channel", "units"), list(columns))
        for key, s in found["statistics"].items():
            units, scale = readable_units(s["units"])
            table.add_row(key, units, *(number(s[n], scale, ".5g") for n in columns.values()))
        tables.append(table)
    return tables


def readable_units(units: str) -> tuple[str, float]:
    """The units that people read in place of the SI ``units``, and the factor to them."""
    return READABLE.get(units, (units, 1.0))


def bias_text(bias: dict[str, Any]) -> str:
    """How many observations were corrected, and the largest correction of each variable."""
    largest = ", ".join(
        f"{name} {found['largest']:+.3g} {found['units']} ({found['station']})"
        for name, found in bias["variables"].items()
    )
    text = f"{bias['corrected']} observations are corrected for the bias of their station"
    return f"{text}; the largest: {largest}" if largest else text


def verdict_text(report: Mapping[str, Any]) -> str:
    """``ok``, or ``suspect`` and why."""
    word, reasons = report["verdict"]["verdict"], report["verdict"]["reasons"]
    return f"{word}: {'; '.join(reasons)}" if reasons else str(word)


def _rows_read(rows: Mapping[str, int]) -> str:
    return (
        f"{rows['read']} rows read: {rows['with_values']} with values, "
        f"{rows['without_values']} without, {rows['unreadable']} unreadable"
    )


def _count_table(title: str, left: Sequence[str]) -> Table:
    table = new_table(title, left, ("in", "used", "passive", "rejected"))
    table.add_column("why")
    return table


def _counts(c: Mapping[str, Any]) -> list[str]:
    why = ", ".join(f"{n} {reason}" for reason, n in c["rejected"].items() if n)
    numbers = (c["in"], c["used"], c["passive"], sum(c["rejected"].values()))
    return [*map(str, numbers), why]


def _extent(extent: Mapping[str, Any]) -> str:
    if not extent:
        return "no good observation"
    (south, north), (west, east) = extent["latitude"], extent["longitude"]
    return (
        f"{extent['time'][0]} to {extent['time'][1]}, latitudes {south:g} to {north:g}, "
        f"longitudes {west:g} to {east:g}"
    )


def _store_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
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
    missing = f"{states['missing_values']} values in {states['with_missing_values']} states"
    step = (
        ""
        if states["step_hours"] is None
        else f", every {states['step_hours']:g} h with {states['gaps']} gaps"
    )
    split = pairs["split"]
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
            ),
        ),
    ]

"""A table to fill in: the header of each CSV shape, with every column explained."""

from __future__ import annotations

from phyda_cli.names import OBSERVABLES

__all__ = ["template"]

_SHARED = {
    "station_id": "any text that names the station",
    "time": "UTC, ISO 8601, such as 2020-10-01T06:00:00Z",
    "latitude": "degrees north, -90 to 90",
    "longitude": "degrees east, -180 to 360",
    "elevation": "height of the station above sea level [m]; may be empty",
}
_LONG = {
    "variable": "one of the names below",
    "pressure": "level [Pa]; empty at the surface",
    "pressure_top": "of a layer [Pa], whose bottom is at pressure: its mean, or its thickness; "
    "empty at a level",
    "height": "level above sea level [m], where there is no pressure; may be empty",
    "value": "in the variable's units",
    "error": "standard deviation of its error in the same units; empty: the default",
    "use": "1, or 0 to compare with it only; may be empty",
}
_WIDE = (
    "t2m_degC",
    "d2m_degC",
    "rh2m",
    "wind_speed",
    "wind_direction",
    "msl_hPa",
    "sp_hPa",
    "qnh_hPa",
)


def template(wide: bool) -> str:
    """The text of a CSV file without rows: one report a row where ``wide``, else one value a
    row."""
    if wide:
        columns = _SHARED | {name: _wide_column(name) for name in _WIDE}
        end = [
            "other surface variables may be added, with their unit as a suffix: "
            + ", ".join(sorted(_others())),
            "leave out what you lack",
        ]
    else:
        columns = _SHARED | _LONG
        end = [
            "variables:",
            *(
                f"  {name}: {v.long_name} [{v.units}]" + ("" if v.surface else ", at a level")
                for name, v in OBSERVABLES.items()
            ),
        ]
    lines = ["Observations for phyda, " + ("one report a row" if wide else "one value a row")]
    lines += [f"{name}: {meaning}" for name, meaning in columns.items()] + end
    return "\n".join([*(f"# {line}" for line in lines), ",".join(columns)]) + "\n"


def _wide_column(column: str) -> str:
    name = next(
        n
        for n in sorted(OBSERVABLES, key=len, reverse=True)
        if column == n or column.startswith(f"{n}_")
    )
    unit = column.removeprefix(name).removeprefix("_") or OBSERVABLES[name].units
    return f"{OBSERVABLES[name].long_name} [{unit}]; may be empty"


def _others() -> set[str]:
    return {
        name
        for name, variable in OBSERVABLES.items()
        if variable.surface and not any(column.startswith(name) for column in _WIDE)
    }

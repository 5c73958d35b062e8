"""A format of observations: the log of a buoy, a line a report.

    #BUOYLOG
    B6201 2020-01-01T06:00:00 45.10 -20.30 13.2 1013.4

Name, time (UTC), latitude, longitude, temperature [degC] and pressure at sea level [hPa].
"""

from __future__ import annotations

import numpy as np

from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import Source, reader
from phyda_cli.observations.report import Problem, ReadResult
from phyda_cli.observations.table import concat, make


def is_log(source: Source) -> bool:
    """Whether the first bytes are those of a log."""
    return source.head.startswith(b"#BUOYLOG")


@reader("a log of buoys", known=is_log, harmless=True)
def read_log(source: Source, _: ObservationMap | None) -> ReadResult:
    """Two observations of each line; a line that cannot be read is a problem with its number."""
    tables, problems = [], []
    lines = source.content.decode().splitlines()[1:]
    for number, line in enumerate(lines, start=2):
        try:
            name, time, latitude, longitude, celsius, hpa = line.split()
            tables.append(
                make(
                    station_id=name,
                    time=np.datetime64(time, "ns"),
                    latitude=float(latitude),
                    longitude=float(longitude),
                    elevation=0.0,
                    variable=["t2m", "msl"],
                    value=[float(celsius) + 273.15, float(hpa) * 100],
                    file=str(source.path),
                    row=number,
                )
            )
        except ValueError as error:
            problems.append(Problem(str(source.path), number, str(error)))
    return ReadResult(
        table=concat(tables),
        rows_read=len(lines),
        rows_with_values=len(tables),
        rows_without_values=0,
        rows_unreadable=len(problems),
        problems=problems,
    )

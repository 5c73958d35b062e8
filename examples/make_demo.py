"""Make the case of ``phyda demo`` from a nature run that `phyda download --source nature --twins 1`
has made.

    python examples/make_demo.py NATURE_FOLDER phyda_cli/demo

Truth and forecast are taken as they are; stations are simulated from the truth with the default
observation errors, a few of them planted with gross errors. Same folder and seed, same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_fields
from phyda_cli.names import default_error
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.convert import write_csv
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import concat, make

SOUNDINGS, SURFACE = 120, 300
DRIEST = 30000.0  # Pa: above it a humidity sensor measures nothing but its own error
NOTE = {
    "comment": "Simulated: a nature run of the SPEEDY climate model (jcm), not the real atmosphere."
}


def truth_at(folder: Path, time: np.datetime64) -> Fields:
    """The nature run at ``time``."""
    for path in sorted(folder.glob("analysis_*.nc")):
        fields = read_background(path, near=time).fields
        if fields.time == time:
            return fields
    raise SystemExit(f"{folder} holds no analysis of {time}")


def places(
    truth: Fields, n: int, land_share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` positions, ``land_share`` of them in clusters over land and the rest anywhere [degrees,
    two decimals]."""
    latitude = np.rad2deg(np.arcsin(rng.uniform(-0.98, 0.98, n)))
    longitude = rng.uniform(0, 360, n)
    land = np.flatnonzero(
        (truth.surface["lsm"] > 0.5).ravel() & (np.abs(truth.grid.mesh[0].ravel()) < 70)
    )
    centres = rng.choice(land, 25)
    clustered = rng.random(n) < land_share
    at = rng.choice(centres, int(clustered.sum()))
    lat, lon = (m.ravel()[at] for m in truth.grid.mesh)
    latitude[clustered] = np.clip(lat + rng.normal(0, 5, at.size), -88, 88)
    longitude[clustered] = (lon + rng.normal(0, 5, at.size) / np.cos(np.deg2rad(lat))) % 360
    return latitude.round(2), longitude.round(2)


def stations(
    truth: Fields, prefix: str, n: int, land_share: float, spread: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Identifier, position and elevation of ``n`` stations; some are up to ``spread`` metres off
    the model's surface."""
    latitude, longitude = places(truth, n, land_share, rng)
    surface = (
        bilinear(truth.grid, latitude, longitude)
        @ truth.surface["orography"].astype(np.float64).ravel()
    )
    elevation = np.maximum(
        surface + spread * rng.uniform(-1, 1, n) * (rng.random(n) < 0.6), 0
    ).round()
    names = [f"{prefix}{i:03d}" for i in range(1, n + 1)]
    return pd.DataFrame(
        {"station_id": names, "latitude": latitude, "longitude": longitude, "elevation": elevation}
    )


def reports(
    sites: pd.DataFrame, variables: list[str], levels: np.ndarray, time: np.datetime64
) -> pd.DataFrame:
    """One row for each site, level (NaN: the surface) and variable, in that order, without values
    yet."""
    index = np.arange(len(sites)).repeat(levels.size * len(variables))
    columns = {k: sites[k].to_numpy()[index] for k in sites}
    pressure = np.tile(levels.repeat(len(variables)), len(sites))
    names = np.tile(np.array(variables, object), len(sites) * levels.size)
    table = make(**columns, time=time, variable=names, pressure=pressure, value=0.0)
    above_ground = ~(pressure > standard_pressure(columns["elevation"]))
    return table[above_ground].reset_index(drop=True)


def observe(table: pd.DataFrame, truth: Fields, rng: np.random.Generator) -> pd.DataFrame:
    """``table`` with values drawn from ``truth`` and their errors; times within half an hour."""
    variable, pressure = table["variable"].to_numpy(object), table["pressure"].to_numpy()
    error = np.zeros(len(table))
    for name in set(variable):
        error[variable == name] = default_error(name, pressure[variable == name])
    value = build_operator(truth, table, None).apply(truth.vector()) + error * rng.standard_normal(
        len(table)
    )
    value = np.where(variable == "q", np.maximum(value, 1e-6), value)
    minutes = {
        s: int(m)
        for s, m in zip(
            table["station_id"].unique(),
            rng.integers(-30, 31, table["station_id"].nunique()),
            strict=True,
        )
    }
    time = table["time"] + pd.to_timedelta(table["station_id"].map(minutes), unit="min")
    digits = table["variable"].map({"q": 8, "msl": 0}).fillna(2).to_numpy()
    rounded = np.array([round(v, int(d)) for v, d in zip(value, digits, strict=True)])
    return table.assign(
        value=rounded,
        error=[float(f"{e:.3g}") for e in error],
        time=time.to_numpy("datetime64[ns]"),
    )


def plant_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Gross errors as they happen: a sign lost, a pressure 40 hPa off, a report sent twice, one
    from yesterday."""
    table = table.copy()
    temperatures, pressures = (np.flatnonzero(table["variable"] == v) for v in ("t2m", "msl"))
    value = table.columns.get_loc("value")
    frosty = temperatures[table["value"].to_numpy()[temperatures] < 260]
    for i in frosty[[3, 10]]:
        table.iat[i, value] = round(2 * 273.15 - table.iat[i, value], 2)
    table.iat[pressures[20], value] += 4000
    table.iat[pressures[90], value] /= 100  # hPa
    late = table["station_id"] == table["station_id"].iloc[temperatures[30]]
    table.loc[late, "time"] -= np.timedelta64(24, "h")
    twice = table[table["station_id"] == table["station_id"].iloc[temperatures[80]]]
    return concat([table, twice])


def main() -> None:
    """Write background.nc, truth.nc, stations.csv and withheld.txt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nature", type=Path, help="folder with analysis_*.nc and forecast_*.nc")
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", default="2011-01-20T06", help="initial time of the forecast")
    parser.add_argument("--lead", type=int, default=24, help="hours")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    time = np.datetime64(options.start, "ns") + np.timedelta64(options.lead, "h")
    rng = np.random.default_rng(options.seed)
    truth = truth_at(options.nature, time)
    background = read_background(options.nature / f"forecast_{options.start}.nc", time).fields
    soundings = reports(
        stations(truth, "TEMP", SOUNDINGS, 0.6, 0.0, rng), ["t", "u", "v", "q"], truth.levels, time
    )
    soundings = soundings[(soundings["variable"] != "q") | (soundings["pressure"] >= DRIEST)]
    surface = reports(
        stations(truth, "SYN", SURFACE, 0.8, 100.0, rng),
        ["t2m", "u10", "v10", "msl"],
        np.array([np.nan]),
        time,
    )
    table = plant_errors(observe(concat([soundings, surface]), truth, rng))

    options.out.mkdir(parents=True, exist_ok=True)
    write_fields(options.out / "truth.nc", truth, NOTE, overwrite=True)
    write_fields(options.out / "background.nc", background, NOTE, overwrite=True)
    path = options.out / "stations.csv"
    write_csv(path, table, overwrite=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(2000, "SYN901,STATION CLOSED FOR MAINTENANCE")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = table["station_id"].unique()
    withheld = sorted(rng.choice(names, round(0.2 * names.size), replace=False))
    listed = "\n".join(["# compared with the analysis, not used by it", *withheld])
    (options.out / "withheld.txt").write_text(listed + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

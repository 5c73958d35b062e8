"""What gross errors cost after quality control, on days never trained on.

    python -m benchmarks.gross_errors --data data/nature-test.zarr [--cases 6] [--reports 600]
    [--sigma 10] [--of observation] [--json FILE] python -m benchmarks.gross_errors --quick

A third of the reports are soundings (z t u v q at all levels), two thirds surface stations (msl t2m
u10 v10), drawn from the truth with errors of the assumed size. 5 % of the observations are then
replaced by gross errors, a quarter each: ten standard deviations up or down, the sign turned, wrong
units (hPa, degrees Celsius, knots, g/kg), latitude and longitude swapped. A standard deviation is
that of the innovation, sqrt(sigma_o^2 + sigma_b^2), or with ``--of observation`` sigma_o alone,
which the background's own uncertainty can hide; a turned sign, knots or a swapped place is only a
gross error where it moves the value by as much as that, so such observations are picked
(``--sigma`` sets the ten).

``rmse_clean`` is the analysis of the same observations without gross errors, ``rmse_known`` that
without the spoilt ones: what perfect quality control would give. ``good_flagged`` holds the other
components of winds that were found to be wrong. Variants: the defaults, without the buddy check,
with the Huber norm. Bars, for the defaults: RMSE less than 3 % up, at least 95 % of the planted
errors flagged, fewer than 1 % of the good ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.held_out import Pair, bundled_pair, pairs_of_store
from benchmarks.outcome import finish
from phyda_cli.analysis.analyse import analyse, pose
from phyda_cli.analysis.prior import as_fields
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import to_grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.names import default_error
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.simulation.observing_network import uniform_positions

SHARE = 0.05
KINDS = ("ten sigma", "sign", "units", "swapped")
VARIANTS: dict[str, dict[str, object]] = {
    "checks": {},
    "no buddy": {"buddy_factor": None},
    "huber": {"robust": "huber"},
}
UNITS = {
    "msl": (0.01, 0.0),
    "t": (1.0, -273.15),
    "t2m": (1.0, -273.15),
    "u": (1.94384, 0.0),
    "v": (1.94384, 0.0),
    "u10": (1.94384, 0.0),
    "v10": (1.94384, 0.0),
    "q": (1000.0, 0.0),
    "z": (1 / 9.80665, 0.0),
}


def network(
    spec: StateSpec, time: np.datetime64, reports: int, rng: np.random.Generator
) -> pd.DataFrame:
    """A third of ``reports`` soundings, two thirds surface stations in clusters, without values."""
    upper = [c for c in spec.channel_list if c.pressure is not None and c.variable in "ztuvq"]
    surface = [c for c in spec.channel_list if c.pressure is None]
    parts = []
    for kind, channels, n in (("T", upper, reports // 3), ("S", surface, reports - reports // 3)):
        latitude, longitude = uniform_positions(spec.grid, n, rng)
        index, k = np.repeat(np.arange(n), len(channels)), np.tile(np.arange(len(channels)), n)
        parts.append(
            make(
                station_id=np.array([f"{kind}{i:04d}" for i in index], object),
                time=time,
                latitude=latitude[index].round(4),
                longitude=longitude[index].round(4),
                variable=np.array([c.variable for c in channels], object)[k],
                pressure=np.array([np.nan if c.pressure is None else c.pressure for c in channels])[
                    k
                ],
                value=np.zeros(index.size),
            )
        )
    return pd.concat(parts, ignore_index=True)


def observe(truth: Fields, table: pd.DataFrame, orography: np.ndarray) -> np.ndarray:
    """The truth at every row (P,)."""
    return build_operator(truth, table, orography).apply(np.nan_to_num(truth.vector()))


def plant(
    table: pd.DataFrame,
    truth: Fields,
    orography: np.ndarray,
    sigma: np.ndarray,
    least: float,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray]:
    """``table`` with gross errors of at least ``least`` times ``sigma`` (P,), and the kind of each
    row's (P,), -1 for none."""
    value, variable = table["value"].to_numpy().copy(), table["variable"].to_numpy(object)
    latitude, longitude = table["latitude"].to_numpy().copy(), table["longitude"].to_numpy().copy()
    factor, offset = np.array([UNITS[v] for v in variable]).T
    east = (longitude + 180) % 360 - 180
    swapped = table.assign(
        latitude=np.where(np.abs(east) <= 90, east, latitude),
        longitude=np.where(np.abs(east) <= 90, latitude % 360, longitude),
    )
    moved = np.abs(observe(truth, swapped, orography) - value)
    changes = {
        "ten sigma": np.full(len(table), np.inf),
        "sign": np.abs(2 * value),
        "units": np.abs(value * factor + offset - value),
        "swapped": moved,
    }
    kind = np.full(len(table), -1)
    for number, name in enumerate(KINDS):
        possible = np.flatnonzero((kind < 0) & (changes[name] >= least * sigma))
        kind[
            rng.choice(
                possible, min(possible.size, round(SHARE / len(KINDS) * len(table))), replace=False
            )
        ] = number
    up = np.where(rng.random(len(table)) < 0.5, -1.0, 1.0)
    spoilt = [value + least * up * sigma, -value, value * factor + offset, value]
    value = np.select([kind == k for k in range(len(KINDS))], spoilt, value)
    place = {n: np.where(kind == 3, swapped[n], table[n]) for n in ("latitude", "longitude")}
    return table.assign(value=value, **place), kind


def rmse(analysis: Fields, pair: Pair, spec: StateSpec) -> float:
    """Root mean square over channels and area of (analysis - truth) / background_std."""
    found = to_grid(analysis, spec.channel_list, spec.grid)[0]
    error = (found - pair.truth) / spec.column("background_std")
    return float(np.sqrt((error**2 * spec.grid.area_weights[:, None]).mean()))


def run(
    checkpoint: Checkpoint,
    pair: Pair,
    reports: int,
    least: float,
    of: str,
    seed: int,
    methods: list[str],
    members: int,
) -> list[dict[str, object]]:
    """Rows of one case."""
    spec, rng = checkpoint.state, np.random.default_rng([31, seed])
    everything = np.ones(spec.n_channels, bool)
    empty = Fields(spec.grid, pair.time, np.zeros(0), {}, {}, pair.lead)
    truth, background = (
        as_fields(a, spec, empty, everything) for a in (pair.truth, pair.background)
    )
    orography = checkpoint.statics["orography"]
    table = network(spec, pair.time, reports, rng)
    error = np.concatenate(
        [
            default_error(str(v), np.array([p]))
            for v, p in zip(table["variable"], table["pressure"], strict=True)
        ]
    )
    exact = observe(truth, table, orography)
    noisy = exact + error * rng.standard_normal(error.size)
    negative = (table["variable"] == "q").to_numpy() & (noisy < 0)
    table = table.assign(value=np.where(negative, exact, noisy), error=error)
    settings = AnalysisSettings.model_validate({"method": "oi", "members": members})
    clean = pose(
        background, prepare(table, background, settings=settings.qc), checkpoint, settings
    ).departures
    sigma = error if of == "observation" else np.hypot(error, clean.sigma_b)
    spoilt, kind = plant(table, truth, orography, sigma, least, rng)
    rows = []
    for method in methods:
        for name, changes in VARIANTS.items():
            if method != "oi" and name != "checks":
                continue
            chosen = settings.model_copy(
                update={"method": method, "qc": settings.qc.model_copy(update=changes)}
            )
            good, bad = (
                pose(background, prepare(t, background, settings=chosen.qc), checkpoint, chosen)
                for t in (table, spoilt)
            )
            flagged, before = (
                (p.departures.table["qc"] != QC.PASS).to_numpy() for p in (bad, good)
            )
            planted = kind >= 0
            codes = np.where(planted, QC.BLACKLIST, good.departures.table["qc"])
            known = good.departures.table.assign(qc=codes.astype(np.int16))
            kept = replace(good.departures, table=known)
            runs = (good, replace(good, departures=kept), bad)
            errors = [rmse(analyse(problem).fields, pair, spec) for problem in runs]
            rows.append(
                {
                    "method": method,
                    "variant": name,
                    "case": seed,
                    "observations": len(table),
                    "planted": int(planted.sum()),
                    "rmse_clean": errors[0],
                    "rmse_known": errors[1],
                    "rmse_spoilt": errors[2],
                    "found": float(flagged[planted].mean()),
                    **{
                        f"found {k}": float(flagged[kind == i].mean())
                        if (kind == i).any()
                        else np.nan
                        for i, k in enumerate(KINDS)
                    },
                    "good_flagged": float(flagged[~planted].mean()),
                    "clean_flagged": float(before.mean()),
                }
            )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="training store of the held-out days")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--reports", type=int, default=600)
    parser.add_argument("--sigma", type=float, default=10.0, help="size of the gross errors")
    parser.add_argument(
        "--of",
        choices=("innovation", "observation"),
        default="innovation",
        help="whose standard deviation sigma is",
    )
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--methods", nargs="+", default=["oi"], help="oi, phyda")
    parser.add_argument("--quick", action="store_true", help="the one bundled case")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (args.data or args.quick):
        parser.error("give --data or --quick")
    checkpoint = Checkpoint.open(args.checkpoint)
    spec = checkpoint.state
    pairs = (
        [bundled_pair(spec)] if args.quick else list(pairs_of_store(args.data, spec, args.cases))
    )
    rows = []
    for seed, pair in enumerate(pairs):
        rows += run(
            checkpoint, pair, args.reports, args.sigma, args.of, seed, args.methods, args.members
        )
    means = (
        pd.DataFrame(rows).drop(columns="case").groupby(["method", "variant"], sort=False).mean()
    )
    means.insert(5, "rise_percent", 100 * (means["rmse_spoilt"] / means["rmse_clean"] - 1))
    print(means.T.to_string(float_format="{:.4f}".format))
    checks = means.loc[(args.methods[0], "checks")]
    bars = [
        (checks["rise_percent"] >= 3, f"RMSE rises by {checks['rise_percent']:.2f} %"),
        (checks["found"] < 0.95, f"{checks['found']:.1%} of the gross errors found"),
        (
            checks["good_flagged"] >= 0.01,
            f"{checks['good_flagged']:.2%} of the good observations flagged",
        ),
    ]
    finish([text for missed, text in bars if missed], {"rows": rows}, args.json)


if __name__ == "__main__":
    main()

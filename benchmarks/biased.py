"""What biased stations cost a cycle of analyses, with and without the memory of biases.

    python -m benchmarks.biased [--cycles 20] [--stations 300] [--json FILE]
    python -m benchmarks.biased --quick

Synthetic: the truth is the demo's, every six hours again. Errors of the backgrounds are drawn from
the checkpoint's own members, with a correlation of 0.5 from cycle to cycle. The same surface
stations (msl t2m u10 v10, errors as assumed) and a tenth as many soundings, which are anchors,
report in every cycle, with new errors. One station in ten has a constant bias of 2 K and 3 hPa, up
or down. The analyses are those of ``--method oi`` with a sixth of the members.

RMSE is the root mean square over cycles, area and channels of analysis minus truth, in
background-error standard deviations; also of t2m and msl alone. ``no bias`` are the same reports
without biases. ``no bias, memory`` says what the memory costs where it has nothing to do. Bar: with
the memory RMSE is less than 2 % above that without biased stations, for all channels together and
for t2m and msl, which are the biased ones. (All together hardly feel the biases.)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.gross_errors import network, observe
from benchmarks.held_out import Pair, bundled_pair
from benchmarks.outcome import finish
from phyda_cli.analysis.analyse import analyse, pose
from phyda_cli.analysis.prior import as_fields
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import to_grid
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.names import default_error
from phyda_cli.observations.bias import Memory
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.settings.analysis import AnalysisSettings

BIASES = {"t2m": 2.0, "msl": 300.0}
SHARE, PERSISTENCE, BAR, FEWER = 0.1, 0.5, 2.0, 6
VARIANTS = {  # whether stations are biased, whether there is a memory
    "no bias": (False, False),
    "no bias, memory": (False, True),
    "biased": (True, False),
    "biased, memory": (True, True),
}


@dataclass(frozen=True, eq=False)
class FewMembers(Checkpoint):
    """The checkpoint with every sixth member, so that an analysis takes a fraction of a second."""

    @cached_property
    def few(self) -> torch.Tensor:
        """(N, C, H, W), scaled to the same covariance."""
        return super().members(np.datetime64("2020-01-01"))[::FEWER] * FEWER**0.5

    def members(self, time: np.datetime64) -> torch.Tensor:
        """The same for every ``time``."""
        return self.few


def biases(table: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """The constant bias of each row (P,): of a tenth of the surface stations, up or down."""
    surface = table["pressure"].isna()
    stations = table.loc[surface, "station_id"].unique()
    chosen = rng.choice(stations, round(SHARE * stations.size), replace=False)
    sign = pd.Series(np.where(rng.random(chosen.size) < 0.5, -1.0, 1.0), chosen)
    size = table["variable"].map(BIASES).fillna(0.0).to_numpy() * surface.to_numpy()
    return np.asarray(table["station_id"].map(sign).fillna(0.0).to_numpy() * size)


def squares(analysis: Fields, pair: Pair, checkpoint: Checkpoint) -> np.ndarray:
    """Area-weighted mean square error of each channel (C,) in background-error variances."""
    spec = checkpoint.state
    found = to_grid(analysis, spec.channel_list, spec.grid)[0]
    error = (found - pair.truth) / spec.column("background_std")
    return np.asarray((error**2 * spec.grid.area_weights[:, None]).mean(axis=(1, 2)))


def run(checkpoint: Checkpoint, cycles: int, stations: int, seed: int) -> dict[str, np.ndarray]:
    """Mean square errors (cycles, C) of each variant."""
    spec, rng = checkpoint.state, np.random.default_rng([57, seed])
    pair = bundled_pair(spec)
    settings = AnalysisSettings.model_validate({"method": "oi"})
    orography = checkpoint.statics["orography"]
    # A third of the network are soundings; a tenth of the stations shall be.
    table = network(spec, pair.time, round(1.5 * stations), rng)
    table = table[
        table["station_id"].str[0].eq("S") | (table["station_id"] < f"T{stations // 10:04d}")
    ]
    table = table.reset_index(drop=True)
    error = np.concatenate(
        [
            default_error(str(v), np.array([p]))
            for v, p in zip(table["variable"], table["pressure"], strict=True)
        ]
    )
    everything, bias = np.ones(spec.n_channels, bool), biases(table, rng)
    members = checkpoint.members(pair.time).numpy()
    weights = rng.standard_normal(len(members))
    squared: dict[str, list[np.ndarray]] = {name: [] for name in VARIANTS}
    memories: dict[str, Memory | None] = {
        n: Memory() if m else None for n, (_, m) in VARIANTS.items()
    }
    for cycle in range(cycles):
        time = pair.time + cycle * np.timedelta64(6, "h")
        new = rng.standard_normal(len(members))
        weights = PERSISTENCE * weights + np.sqrt(1 - PERSISTENCE**2) * new
        wrong = np.tensordot(weights, members, 1) * spec.column("background_std")
        empty = Fields(spec.grid, time, np.zeros(0), {}, {}, pair.lead)
        truth, background = (
            as_fields(a.astype(np.float32), spec, empty, everything)
            for a in (pair.truth, pair.truth + wrong)
        )
        exact = observe(truth, table, orography)
        noisy = exact + error * rng.standard_normal(error.size)
        negative = (table["variable"] == "q").to_numpy() & (noisy < 0)
        value = np.where(negative, exact, noisy)
        for name, (biased, _) in VARIANTS.items():
            reports = table.assign(value=value + bias * biased, error=error, time=time)
            prepared = prepare(reports, background, settings=settings.qc)
            problem = pose(background, prepared, checkpoint, settings, memory=memories[name])
            found = analyse(problem)
            if memories[name] is not None:
                memories[name] = found.feedback.memory
            squared[name].append(squares(found.fields, pair, checkpoint))
    return {name: np.array(rows) for name, rows in squared.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--stations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="6 cycles of 60 stations, no bar")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    checkpoint = FewMembers.open(args.checkpoint)
    cycles, stations = (6, 60) if args.quick else (args.cycles, args.stations)
    squared = run(checkpoint, cycles, stations, args.seed)
    keys = [c.key for c in checkpoint.state.channel_list]
    only = {"all": np.arange(len(keys))} | {k: np.array([keys.index(k)]) for k in BIASES}
    late = slice(cycles // 2, None)
    table = pd.DataFrame(
        {
            name: {
                f"{label}{when}": float(np.sqrt(rows[part][:, channels].mean()))
                for label, channels in only.items()
                for when, part in (("", slice(None)), (", second half", late))
            }
            for name, rows in squared.items()
        }
    ).T
    rise = 100 * (table / table.loc["no bias"] - 1)
    print("RMSE\n" + table.to_string(float_format="{:.4f}".format))
    print("above no bias [%]\n" + rise.to_string(float_format="{:+.2f}".format))
    found = {label: float(rise.loc["biased, memory", label]) for label in only}
    missed = [f"RMSE of {k} rises by {v:.2f} %" for k, v in found.items() if v >= BAR]
    missed = [] if args.quick else missed
    finish(missed, {"rmse": table.to_dict(), "rise_percent": rise.to_dict()}, args.json)


if __name__ == "__main__":
    main()

"""How phyda compares with its own linear analysis on backgrounds that it was not trained for, with
all of the learned correction and with as much of it as the observations support.

    python -m benchmarks.linear --data data/nature/test [--dates 6] [--json FILE]
    python -m benchmarks.linear --quick

Truth: a nature run never trained on. Backgrounds: twin forecasts of 24 h and, started a day
earlier, of 48 h (lagged); the analysis of the day before (persistence); and the twin forecast of
24 h with half the resolution, as of a foreign model. Networks: 20, 100 and 400 soundings and the
mix over land of benchmarks.networks, drawn anew for each date. The bars: the RMSE of phyda is at
most 0.5 % above that of oi in every row, and where all of the correction gains at least 1 % over
oi, four fifths of that are kept. The RMSE is the root of the mean over channels of the mean square
error over the background's. ``--quick`` takes the demo's pair and two networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.held_out import Pair, bundled_pair
from benchmarks.networks import NETWORKS, Draw, soundings
from benchmarks.outcome import finish
from phyda_cli.analysis.background_scale import GROUPS
from phyda_cli.analysis.correction_weight import CorrectionWeight
from phyda_cli.analysis.model_grid import ModelGridSettings, Networks, analyse, scaled_to_today
from phyda_cli.analysis.prior import Prior
from phyda_cli.fields.remap import to_grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.formats.background import read_background
from phyda_cli.formats.inputs import valid_times
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.simulation.simulate import simulate

ALLOWED = 1.005  # RMSE over oi's
KEPT = 0.8  # of the gain over oi, where all of the correction gains more than WORTH
WORTH = 0.01
DAY = np.timedelta64(24, "h")
CHOSEN: dict[str, Draw] = {
    "20 soundings": lambda spec, land, rng: soundings(spec, 20, rng),
    **{name: NETWORKS[name] for name in ("100 soundings", "400 soundings", "mix over land")},
}
ALL = CorrectionWeight.uniform(1.0)


def backgrounds(folder: Path, spec: StateSpec, count: int) -> Iterator[tuple[str, Pair]]:
    """Every kind of background, as stacks (C, H, W), at ``count`` dates spread over the nature run
    in ``folder``."""
    twins = {np.datetime64(p.stem[9:]): p for p in sorted(folder.glob("forecast_*.nc"))}
    analyses = {
        time: path for path in sorted(folder.glob("analysis_*.nc")) for time in valid_times(path)
    }

    def stack(path: Path, time: np.datetime64) -> np.ndarray:
        fields = read_background(path, time).fields
        return to_grid(fields, spec.channel_list, spec.grid)[0].astype(np.float32)

    starts = [start for start in twins if start - DAY in twins and start + DAY in analyses]
    for number in np.linspace(0, len(starts) - 1, count).astype(int):
        start = starts[number]
        time = start + DAY
        truth, before, twin = (
            stack(*which)
            for which in ((analyses[time], time), (analyses[start], start), (twins[start], time))
        )
        yield "twin", Pair(twin, truth, time, 24.0)
        yield "lagged", Pair(stack(twins[start - DAY], time), truth, time, 48.0)
        yield "persistence", Pair(before, truth, time, 24.0)
        yield "foreign", Pair(coarse(twin), truth, time, 24.0)


def coarse(state: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 points of ``state`` (C, H, W), on its own grid."""
    c, h, w = state.shape
    means = state.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4))
    return means.repeat(2, axis=1).repeat(2, axis=2)


def errors(
    checkpoint: Checkpoint, networks: Networks, pair: Pair, network: Draw, seed: int
) -> tuple[np.ndarray, CorrectionWeight]:
    """Mean square errors (4, C) of the background, oi, phyda with all of its correction and phyda
    with the weight that it finds; and that weight."""
    spec, unit = checkpoint.state, checkpoint.state.column("background_std")
    drawn = network(spec, checkpoint.statics["lsm"], np.random.default_rng([50, seed]))
    target = ((pair.truth - pair.background) / unit).astype(np.float32)
    observations = simulate(spec, target, drawn, np.random.default_rng([51, seed]))
    prior = Prior.static(checkpoint, pair.background, pair.time, pair.lead)
    _, _, scale = scaled_to_today(prior, observations, ModelGridSettings())
    settings = ModelGridSettings(scale=scale)
    found = [
        analyse(prior, observations, None, settings),
        analyse(prior, observations, networks, replace(settings, weight=ALL)),
        analyse(prior, observations, networks, settings),
    ]
    increments = [np.zeros_like(target), *(f.mean * f.unit / unit for f in found)]
    square = (np.stack(increments) - target) ** 2 * spec.grid.area_weights[:, None]
    weight = found[-1].weight
    assert weight is not None, "phyda without a correction"
    return square.mean(axis=(2, 3)), weight


class Row:
    """The sums over the dates of one network and one kind of background."""

    def __init__(self) -> None:
        self.square: list[np.ndarray] = []
        self.weights: list[CorrectionWeight] = []

    def scores(self) -> dict[str, float]:
        """RMSE of phyda over that of oi, with all of the correction and with its weight."""
        prior, *analyses = np.sum(self.square, axis=0)
        oi, whole, weighed = (float(np.sqrt((a / prior).mean())) for a in analyses)
        mean = {g: float(np.mean([w.groups[g] for w in self.weights])) for g in GROUPS}
        return {"oi": oi, "all": whole / oi, "weighed": weighed / oi, **mean}


def missed(name: str, row: dict[str, float]) -> list[str]:
    """The bars that a row of the table misses."""
    found = []
    if row["weighed"] > ALLOWED:
        found.append(f"{name}: {row['weighed']:.4f} of oi")
    gain, kept = 1 - row["all"], 1 - row["weighed"]
    if gain > WORTH and kept < KEPT * gain:
        found.append(f"{name}: {kept:.4f} of a gain of {gain:.4f}")
    return found


def main() -> None:
    """Print the table; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of a nature run with twin forecasts")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="the demo's pair, two networks")
    args = parser.parse_args()
    if not args.quick and args.data is None:
        parser.error("give --data, or --quick")
    checkpoint = Checkpoint.open(args.checkpoint)
    networks, spec = Networks.of(checkpoint), checkpoint.state
    cases = (
        [("twin", bundled_pair(spec))] if args.quick else backgrounds(args.data, spec, args.dates)
    )
    rows: dict[tuple[str, str], Row] = {}
    for number, (kind, pair) in enumerate(cases):
        for name in tuple(CHOSEN)[1:3] if args.quick else CHOSEN:
            row = rows.setdefault((name, kind), Row())
            square, weight = errors(checkpoint, networks, pair, CHOSEN[name], number)
            row.square.append(square)
            row.weights.append(weight)
            scores = row.scores()
            so_far = f"{scores['all']:.4f} {scores['weighed']:.4f}"
            print(f"{number + 1} {name}, {kind}: {so_far}", file=sys.stderr, flush=True)
    print(
        f"{'network':15} {'background':12} {'oi/background':>13} {'all/oi':>7} {'phyda/oi':>8}"
        f" {'dates':>5}  weights: {', '.join(GROUPS)}"
    )
    table, bars = {}, []
    for (name, kind), row in rows.items():
        scores = row.scores()
        table[f"{name}, {kind}"] = scores
        bars += missed(f"{name}, {kind}", scores)
        weights = " ".join(f"{scores[g]:.2f}" for g in GROUPS)
        print(
            f"{name:15} {kind:12} {scores['oi']:13.3f} {scores['all']:7.4f} "
            f"{scores['weighed']:8.4f} {len(row.square):5}  {weights}"
        )
    finish(bars, table, args.json)


if __name__ == "__main__":
    main()

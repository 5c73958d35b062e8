"""Stage 1 and the full model on days never trained on, from simulated observations: mean square
error over the background's.

    python -m benchmarks.held_out --data data/nature-test.zarr [--cases 48] [--members 16] [--json
    FILE] python -m benchmarks.held_out --quick

Networks: 400 and 100 random soundings (u v t q at all levels and msl; errors 1 m/s, 0.8 K, 0.5
g/kg, 1 hPa), 1000 surface stations, and the random mixes of training. All methods see the same
observations. A ratio is the mean over channels of the area-weighted mean square error divided by
the background's, both summed over the cases. ``--quick`` uses the one pair that is bundled with the
demo.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.networks import soundings, surface
from benchmarks.outcome import finish
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import Increment, ModelGridSettings, Networks, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.fields.remap import to_grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.simulation.observing_network import Network, draw_network
from phyda_cli.simulation.simulate import simulate

BARS = {"400 soundings": 0.55, "100 soundings": 0.76}
Draw = Callable[[np.random.Generator], Network]
DEMO = Path(__file__).resolve().parents[1] / "phyda_cli" / "demo"


@dataclass(frozen=True)
class Pair:
    """One held-out case in physical units, (C, H, W)."""

    background: np.ndarray
    truth: np.ndarray
    time: np.datetime64
    lead: float


def pairs_of_store(path: Path, spec: StateSpec, count: int, skip: float = 0.0) -> Iterator[Pair]:
    """``count`` pairs spread evenly over a store after the first ``skip`` of its span. Only
    forecasts against analyses are used."""
    store = PairStore.open(path)
    if store.channels != spec.channels:
        raise SystemExit(f"{path} has other channels than the checkpoint")
    starts = store.time[store.pairs].min(axis=1)
    genuine = np.flatnonzero(
        (store.scale == 1.0)
        & (starts >= store.time.min() + skip * (store.time.max() - store.time.min()))
    )
    for p in genuine[np.linspace(0, genuine.size - 1, min(count, genuine.size)).astype(int)]:
        b, t = store.pairs[p]
        states = {int(i): np.asarray(store.states[int(i)]) for i in (b, t)}
        yield Pair(states[int(b)], states[int(t)], store.time[t], float(store.lead[p]))


def bundled_pair(spec: StateSpec) -> Pair:
    """The demo's background and truth on the model grid."""
    background, truth = (read_background(DEMO / f"{n}.nc").fields for n in ("background", "truth"))
    stacks = [
        to_grid(f, spec.channel_list, spec.grid)[0].astype(np.float32) for f in (background, truth)
    ]
    return Pair(stacks[0], stacks[1], background.time, background.lead_hours)


class Scores:
    """Sums over cases of squared errors (C,) of each method, of spreads and of seconds."""

    def __init__(self, spec: StateSpec) -> None:
        self.weights = spec.grid.area_weights[:, None]
        self.unit = spec.column("background_std")
        self.sums: dict[str, dict[str, np.ndarray]] = {}
        self.cases: dict[str, list[float]] = {}

    def add(
        self,
        method: str,
        pair: Pair,
        increment: np.ndarray,
        spread: np.ndarray | None,
        seconds: float,
    ) -> None:
        """One analysis; ``increment`` and ``spread`` normalised (C, H, W)."""
        target = (pair.truth - pair.background) / self.unit
        error = ((increment - target) ** 2 * self.weights).mean(axis=(1, 2))
        prior = (target**2 * self.weights).mean(axis=(1, 2))
        width = (
            np.zeros_like(error) if spread is None else (spread**2 * self.weights).mean(axis=(1, 2))
        )
        row = {
            "error": error,
            "prior": prior,
            "width": width,
            "seconds": np.array(seconds),
            "n": np.array(1),
        }
        kept = self.sums.setdefault(
            method, {k: np.zeros_like(v, dtype=float) for k, v in row.items()}
        )
        for key, value in row.items():
            kept[key] += value
        self.cases.setdefault(method, []).append(float((error / prior).mean()))

    def add_increment(self, method: str, pair: Pair, found: Increment, seconds: float) -> None:
        """One analysis as the method makes it, in units of the scaled error."""
        factor = found.unit / self.unit
        self.add(method, pair, found.mean * factor, found.spread * factor, seconds)

    def table(self) -> dict[str, dict[str, float]]:
        """Ratio, spread/skill and seconds a case, by method."""
        return {
            m: {
                "ratio": float((s["error"] / s["prior"]).mean()),
                "spread_skill": float(np.sqrt(s["width"].mean() / s["error"].mean())),
                "seconds": float(s["seconds"] / s["n"]),
                "cases": int(s["n"]),
            }
            for m, s in self.sums.items()
        }


@dataclass(frozen=True, eq=False)
class Case:
    """What the method makes of one pair, up to each stage; seconds of oi and of all.

    ``linear`` is oi's stage 1, ``virtual`` phyda's, with the errors of the day; ``encoder`` is the
    encoder's mean and ``sampled`` all of it, None without members."""

    pair: Pair
    linear: Increment
    virtual: Increment
    encoder: Increment
    sampled: Increment | None
    seconds: tuple[float, float]


def cases(
    checkpoint: Checkpoint, pairs: list[Pair], network: Draw, members: int, repeats: int = 1
) -> Iterator[Case]:
    """Analyses of every pair; the observations are the same for every checkpoint of one state."""
    spec, everything = checkpoint.state, Networks.of(checkpoint)
    first_stage = replace(everything, encoder=None)
    where = Localisation.of(spec, checkpoint.metadata.solver)
    for number, pair in enumerate(p for p in pairs for _ in range(repeats)):
        drawn = network(np.random.default_rng([20, number]))
        target = ((pair.truth - pair.background) / spec.column("background_std")).astype(np.float32)
        observations = simulate(spec, target, drawn, np.random.default_rng([21, number]))
        prior = Prior.static(checkpoint, pair.background, pair.time, pair.lead, where)
        settings = ModelGridSettings(seed=number)
        began = time.perf_counter()
        linear = analyse(prior, observations, None, settings)
        oi_seconds = time.perf_counter() - began
        virtual = analyse(prior, observations, first_stage, settings)
        encoder = analyse(prior, observations, everything, settings)
        began, sampled = time.perf_counter(), None
        if members:
            again = replace(settings, members=members, weight=encoder.weight)  # as it would find
            sampled = analyse(prior, observations, everything, again)
        yield Case(
            pair, linear, virtual, encoder, sampled, (oi_seconds, time.perf_counter() - began)
        )


def networks(spec: StateSpec, land: np.ndarray) -> dict[str, Draw]:
    """The networks of the module's docstring."""
    return {
        "400 soundings": lambda rng: soundings(spec, 400, rng),
        "100 soundings": lambda rng: soundings(spec, 100, rng),
        "1000 surface": lambda rng: surface(spec, 1000, rng),
        "random mixes": lambda rng: draw_network(spec, land, rng, empty=0.0),
    }


def run(
    checkpoint: Checkpoint, pairs: list[Pair], network: Draw, members: int, repeats: int = 1
) -> Scores:
    """Score ``oi``, ``virtual`` (with the errors of the day), ``encoder`` (its mean) and ``phyda``
    on the same observations."""
    scores = Scores(checkpoint.state)
    for case in cases(checkpoint, pairs, network, members, repeats):
        oi, all_stages = case.seconds
        scores.add_increment("oi", case.pair, case.linear, oi)
        scores.add_increment("virtual", case.pair, case.virtual, all_stages)
        scores.add_increment("encoder", case.pair, case.encoder, all_stages)
        if case.sampled is not None:
            scores.add_increment("phyda", case.pair, case.sampled, all_stages)
    return scores


def main() -> None:
    """Print the table; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="training store of the held-out days")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="the bundled pair only, two draws of each network, 4 members",
    )
    args = parser.parse_args()
    if not args.quick and args.data is None:
        parser.error("give --data, or --quick")
    checkpoint = Checkpoint.open(args.checkpoint)
    spec, land = checkpoint.state, checkpoint.statics["lsm"]
    pairs = (
        [bundled_pair(spec)] if args.quick else list(pairs_of_store(args.data, spec, args.cases))
    )
    result, missed = {}, []
    print(
        f"{'network':15} {'method':8} {'mse/background':>14} {'spread/skill':>12} {'s/case':>7} "
        f"{'cases':>5}"
    )
    for name, network in networks(spec, land).items():
        table = run(
            checkpoint, pairs, network, 4 if args.quick else args.members, 2 if args.quick else 1
        ).table()
        result[name] = table
        for method, row in table.items():
            scores = (
                f"{row['ratio']:14.3f} {row['spread_skill']:12.2f} {row['seconds']:7.2f} "
                f"{row['cases']:5.0f}"
            )
            print(f"{name:15} {method:8} {scores}", flush=True)
        if name in BARS and table["oi"]["ratio"] > BARS[name]:
            missed.append(f"{name}: oi {table['oi']['ratio']:.3f} > {BARS[name]}")
        if table["phyda"]["ratio"] > table["oi"]["ratio"]:
            missed.append(
                f"{name}: phyda {table['phyda']['ratio']:.3f} is worse than oi "
                f"{table['oi']['ratio']:.3f}"
            )
    finish(missed, result, args.json)


if __name__ == "__main__":
    main()

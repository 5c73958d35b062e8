"""Thirty days of cycling jcm with every method, 6-hourly, all with the same observations of the
same nature run.

    python -m benchmarks.cycles --nature data/nature-test --pool data/nature --out runs/cycles
    [--days 30] [--methods oi phyda …] python -m benchmarks.cycles --table runs/cycles

The first background is the truth of five days before; ensembles add differences of states of the
training run. Needs the extra ``nature``. An interrupted method continues where it stopped.
``--out`` holds one line of scores for each analysis and method, ``cycles.md`` and ``cycles.png``.
Scores: RMSE by channel over the background-error standard deviation of the checkpoint, averaged
over channels; the first ten days are left out of the means. At every ``--shock-every``-th analysis
of a method with one background, forecasts of 24 h start from truth, background and analysis: their
surface-pressure noise as in :mod:`benchmarks.shock`; and from those that oi and the checkpoints
``--others``, such as networks trained without the physics term, make of the same background.
With ``--iau`` increments of a single background are added slowly, over the 6 h to the next
analysis (incremental analysis update), and those forecasts of 24 h begin so too; the method has
``-iau`` in its name.
"""

from __future__ import annotations

import argparse
import json
import time as clock
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cycle_report import write_report
from benchmarks.methods import CYCLED, METHODS, Analyser, Method, Valid
from benchmarks.networks import NETWORKS, draw
from benchmarks.osse_scores import crps, ranks
from benchmarks.shock import SAVED_PER_DAY, noise
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.simulation.incremental_update import IncrementalUpdate
from phyda_cli.simulation.jcm import (
    PROGNOSTIC,
    STEPS_PER_DAY,
    Native,
    SpeedyModel,
    chunk_paths,
    lagged_perturbation,
    load_states,
    perturbed,
    read_arrays,
)
from phyda_cli.simulation.speedy_link import SpeedyLink

LAG_DAYS = 5


class Diverged(SystemExit):
    """A forecast is no longer finite."""


class Experiment:
    """A nature run, a forecast model and a network."""

    def __init__(
        self,
        nature: Path,
        pool: Path,
        checkpoint: Checkpoint,
        network: str,
        samples: int,
        shock_every: int,
        others: list[Path],
        slowly: bool,
    ) -> None:
        chunks = [load_states(path) for path in chunk_paths(nature)]
        self.times = np.concatenate([times for times, _ in chunks])
        self.truth: list[Native] = [state for _, states in chunks for state in states]
        self.pool, self.network, self.checkpoint = pool, network, checkpoint
        self.link = SpeedyLink(checkpoint.state)
        self.model = SpeedyModel(self.times[0], 1 / STEPS_PER_DAY)
        self.analyser = Analyser(checkpoint, samples)
        self.weights = checkpoint.state.grid.area_weights[:, None]
        self.others = {path.name: Analyser(Checkpoint.open(path), samples) for path in others}
        self.shock_every, self.day = shock_every, SpeedyModel(self.times[0], 1.0, SAVED_PER_DAY)
        self.update: IncrementalUpdate | None = None
        if slowly:
            parts = SAVED_PER_DAY // STEPS_PER_DAY
            self.update = IncrementalUpdate(self.link, self.times[0], parts)
            self.rest = SpeedyModel(self.times[0], 1 - 1 / STEPS_PER_DAY, SAVED_PER_DAY)

    def first(self, method: Method) -> list[Native]:
        """Forecasts before the first analysis."""
        start = {k: self.truth[0][k] for k in PROGNOSTIC}
        if method.members == 1:
            return [dict(self.truth[0])]
        states = load_states(chunk_paths(self.pool)[0])[1]
        rng = np.random.default_rng(5)
        around = [
            perturbed(start, lagged_perturbation(states, rng, method.initial_u))
            for _ in range(method.members)
        ]
        return [self.model.forecast(state, self.times[0])[-1] for state in around]

    def error(self, stack: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """RMSE by channel (C,) over the background-error standard deviation."""
        square = ((stack - truth) ** 2 * self.weights).mean(axis=(1, 2))
        return np.sqrt(square) / self.checkpoint.state.column("background_std").ravel()

    def step(
        self, method: Method, index: int, forecasts: list[Native], prior: float, keep: Path | None
    ) -> tuple[list[Native], dict]:
        """Analyse ``forecasts`` valid at nature state ``index`` and forecast the next; the scores
        in a record."""
        began = clock.perf_counter()
        stacks = self.link.stack([*forecasts, self.truth[index]])
        truth, ours = stacks[-1], stacks[:-1]
        mean = ours.mean(axis=0)
        increments: list[np.ndarray | None] = [None] * len(forecasts)
        record: dict = {
            "time": str(self.times[index]),
            "background": self.error(mean, truth).tolist(),
        }
        if keep:
            np.savez(keep, forecasts=ours.astype(np.float32), time=self.times[index])
        if method.analyses:
            rng = np.random.default_rng([41, index])
            network = draw(
                self.network, 1.0, self.checkpoint.state, self.checkpoint.statics["lsm"], rng
            )
            case = (
                method,
                ours,
                truth,
                network,
                Valid(self.times[index], 24 / STEPS_PER_DAY, index),
                prior,
            )
            done = self.analyser(*case)
            increments, prior = list(done.increments), done.scale
            unit = self.checkpoint.state.column("background_std").ravel()
            record["spread"] = (
                np.sqrt((done.spread**2 * self.weights).mean(axis=(1, 2))) / unit
            ).tolist()
            target = truth - mean
            found = crps(done, target, self.checkpoint.state.column("background_std"))
            record["crps"] = (found * self.weights).mean(axis=(1, 2)).tolist()
            if len(done.members):
                record["ranks"] = ranks(done.members, target).tolist()
                record |= {"members": len(done.members), "pairs": method.networks != "none"}
            mean = mean + done.increment
            if self.shock_every and index % self.shock_every == 0 and method.members == 1:
                others = {name: other(*case) for name, other in self.others.items()}
                if method.networks != "none":
                    others["oi"] = self.analyser(METHODS["oi"], *case[1:])
                changes = {"analysis": done.increments[0]}
                changes |= {name: other.increments[0] for name, other in others.items()}
                record["noise"] = self.noise(index, forecasts[0], changes)
        record |= {
            "analysis": self.error(mean, truth).tolist(),
            "scale": prior,
            "analysis_seconds": clock.perf_counter() - began,
        }
        following = [
            self.following(state, change, self.times[index])
            for state, change in zip(forecasts, increments, strict=True)
        ]
        record["seconds"] = clock.perf_counter() - began
        return following, record

    def following(self, state: Native, increment: np.ndarray | None, time: np.datetime64) -> Native:
        """The next background, from ``state`` and its increment."""
        if increment is None:
            return self.model.forecast(state, time)[-1]
        if self.update is not None:
            return self.update.forecast(state, increment, time)[-1]
        return self.model.forecast(self.link.add(state, increment), time)[-1]

    def noise(
        self, index: int, background: Native, increments: dict[str, np.ndarray]
    ) -> dict[str, float]:
        """Mean |dps/dt| [Pa/h] of 24 h from the truth at nature state ``index``, from
        ``background``, and from that with each of ``increments``."""
        time = self.times[index]
        found = {
            "truth": self.day.forecast(self.truth[index], time),
            "background": self.day.forecast(background, time),
        }
        for name, increment in increments.items():
            if self.update is None:
                found[name] = self.day.forecast(self.link.add(background, increment), time)
                continue
            first = self.update.forecast(background, increment, time)
            later = self.rest.forecast(first[-1], time + np.timedelta64(24 // STEPS_PER_DAY, "h"))
            found[name] = first + later
        weights = self.link.native.area_weights
        return {name: noise(states, weights)["first_24h"] for name, states in found.items()}

    def run(self, name: str, method: Method, out: Path, days: float, keep_every: int) -> None:
        """Cycle one method to the end of ``days``."""
        log, state_file = out / f"{name}.jsonl", out / f"{name}.npz"
        index, forecasts, prior = LAG_DAYS * STEPS_PER_DAY, [], 2.0
        last = index + round(days * STEPS_PER_DAY)
        if state_file.exists():
            arrays = read_arrays(state_file, ("index", "prior", *self.truth[0]))
            index, prior = int(arrays.pop("index")), float(arrays.pop("prior"))
            forecasts = [{k: v[m] for k, v in arrays.items()} for m in range(method.members)]
            lines = log.read_text(encoding="utf-8").splitlines()[: index - LAG_DAYS * STEPS_PER_DAY]
            log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            log.write_text("", encoding="utf-8")
            forecasts = self.first(method)
        while index < min(last, len(self.truth)):
            keep = (
                out / f"{name}_{index:04d}_forecasts.npz"
                if keep_every and index % keep_every == 0 and method.members > 1
                else None
            )
            forecasts, record = self.step(method, index, forecasts, prior, keep)
            if not all(np.isfinite(v).all() for state in forecasts for v in state.values()):
                raise Diverged(f"{name} diverged at {self.times[index]}")
            prior, index = record["scale"], index + 1
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            partial = state_file.with_suffix(".part.npz")
            stacked = {k: np.stack([state[k] for state in forecasts]) for k in self.truth[0]}
            np.savez(partial, index=np.array(index), prior=np.array(prior), **stacked)  # type: ignore[arg-type]
            partial.replace(state_file)
            if index % STEPS_PER_DAY == 0:
                print(
                    f"{name} {record['time']} background {np.mean(record['background']):.3f} "
                    f"analysis {np.mean(record['analysis']):.3f} "
                    f"scale {record['scale']:.2f} {record['seconds']:.1f} s",
                    flush=True,
                )


def main() -> None:
    """Run the methods, or write the report of those that have run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nature", type=Path, help="folder of a nature run never trained on")
    parser.add_argument(
        "--pool", type=Path, help="folder of the training's nature run, for the first ensemble"
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--network", choices=list(NETWORKS), default="mix over land")
    parser.add_argument("--methods", nargs="+", choices=list(CYCLED), default=list(CYCLED))
    parser.add_argument(
        "--samples", type=int, default=8, help="members phyda draws for its mean and spread"
    )
    parser.add_argument(
        "--iau", action="store_true", help="add increments slowly, over 6 h, not at once"
    )
    parser.add_argument(
        "--keep-every",
        type=int,
        default=0,
        help="keep the forecasts of ensembles at every so-many-th output",
    )
    parser.add_argument(
        "--shock-every",
        type=int,
        default=8,
        help="forecasts for surface-pressure noise at every so-many-th analysis; 0: none",
    )
    parser.add_argument(
        "--others", type=Path, nargs="+", default=[], help="checkpoints for noise of other analyses"
    )
    parser.add_argument("--radius", type=float, help="replaces the methods' localisation [km]")
    parser.add_argument("--rtps", type=float, help="replaces the methods' relaxation")
    parser.add_argument("--weight", type=float, help="replaces the hybrids' share of the ensemble")
    parser.add_argument("--table", type=Path, help="only write the report of this folder")
    args = parser.parse_args()
    if args.table:
        write_report(args.table)
        return
    if not (args.nature and args.pool and args.out):
        parser.error("give --nature, --pool and --out, or --table")
    args.out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        args.nature,
        args.pool,
        Checkpoint.open(args.checkpoint),
        args.network,
        args.samples,
        args.shock_every,
        args.others,
        args.iau,
    )
    for name in args.methods:
        method = METHODS[name]
        changes = {
            "radius_km": args.radius,
            "rtps": args.rtps,
            "ensemble_weight": args.weight if 0 < method.ensemble_weight < 1 else None,
        }
        method = replace(method, **{k: v for k, v in changes.items() if v is not None})
        label = f"{name}-iau" if args.iau else name
        experiment.run(label, method, args.out, args.days, args.keep_every)
    write_report(args.out)


if __name__ == "__main__":
    main()

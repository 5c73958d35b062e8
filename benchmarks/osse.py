"""The observing-system simulation experiment: single analyses by every method of the same
observations of the same truth.

    python -m benchmarks.osse --data data/cycled-test.zarr [--ensembles runs/cycles] --out DIR
    [--cases 24] python -m benchmarks.osse --quick --out DIR

Truth: a nature run of a season never trained on. Backgrounds: 6 h forecasts of a cycle with the
linear analysis on random networks, made by ``phyda simulate twin``. Networks: benchmarks.networks,
with noise 0.5, 1 and 2 times the usual. Methods: benchmarks.methods; those with an ensemble take
the forecasts that ``benchmarks.cycles --keep-every`` left in ``--ensembles`` at the same times,
centred on the common background. Guidance costs minutes an analysis and is scored on few cases, at
the usual noise only.

``DIR/cases.jsonl`` has a line for each analysis; what is there is not made again. ``DIR/osse.json``
has a row for each method, network, noise, variable and level; ``DIR/osse.md`` is the table.
``--quick`` takes the pair of the demo.
"""

from __future__ import annotations

import argparse
import json
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.held_out import Pair, bundled_pair
from benchmarks.methods import METHODS, Analyser, Method, Step, Valid
from benchmarks.networks import NETWORKS, draw
from benchmarks.osse_report import write_report
from benchmarks.osse_scores import Scorer
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.preprocessing.store import PairStore

NOISES = (0.5, 1.0, 2.0)
EVERY = np.timedelta64(
    30, "h"
)  # of the cases; benchmarks.cycles --keep-every 5 keeps the ensembles of these times
SINGLE = (
    "oi",
    "phyda",
    "phyda, diffusion off",
    "phyda, encoder off",
    "phyda, errors of the day off",
)
GUIDED = ("guidance mmps (VRE off)", "guidance dps (VRE off)")
ENSEMBLE = ("letkf-20", "letkf-40", "hybrid-40", "phyda-hybrid-40", "phyda-40, static members off")


@dataclass(frozen=True)
class Task:
    """One analysis: by ``method``, of network and noise, of case number ``case``."""

    network: str
    noise: float
    case: int
    method: str

    @property
    def key(self) -> tuple[str, float, int, str]:
        """What its record is found by."""
        return self.network, self.noise, self.case, self.method


def pairs_of(path: Path, count: int) -> list[Pair]:
    """The first ``count`` pairs of the shortest lead of a store that are valid every ``EVERY`` from
    its first time."""
    store = PairStore.open(path)
    after = store.time[store.pairs[:, 1]] - store.time.min()
    chosen = np.flatnonzero(
        (store.lead == store.lead.min()) & (after % EVERY == np.timedelta64(0, "s"))
    )[:count]
    states = {int(i): np.asarray(store.states[int(i)]) for i in np.unique(store.pairs[chosen])}
    return [
        Pair(
            states[int(store.pairs[p, 0])],
            states[int(store.pairs[p, 1])],
            store.time[store.pairs[p, 1]],
            float(store.lead[p]),
        )
        for p in chosen
    ]


class Ensembles:
    """Forecasts kept by a cycle, by their valid time."""

    def __init__(self, folder: Path | None) -> None:
        self.files: dict[np.datetime64, Path] = {}
        for path in sorted(folder.glob("letkf-40_*_forecasts.npz")) if folder else []:
            with np.load(path) as archive:
                self.files[archive["time"].astype("datetime64[s]")[()]] = path

    def around(self, pair: Pair, count: int) -> np.ndarray:
        """``count`` forecasts (M, C, H, W) moved so that their mean is the pair's background."""
        with np.load(self.files[pair.time.astype("datetime64[s]")]) as archive:
            forecasts = archive["forecasts"][:count]
        return forecasts - forecasts.mean(axis=0) + pair.background

    def has(self, pair: Pair) -> bool:
        """Whether there are forecasts for the pair's time."""
        return pair.time.astype("datetime64[s]") in self.files


def tasks(
    pairs: list[Pair],
    ensembles: Ensembles,
    guided: int,
    networks: tuple[str, ...],
    noises: tuple[float, ...],
) -> Iterator[Task]:
    """Everything to do, the most important first."""
    for noise in sorted(noises, key=lambda n: abs(np.log(n))):
        for network in networks:
            for case, pair in enumerate(pairs):
                methods = ["background", *SINGLE]
                if noise == 1.0:
                    methods += [m for m in ENSEMBLE if ensembles.has(pair)] + [
                        m for m in GUIDED if case < guided
                    ]
                yield from (Task(network, noise, case, method) for method in methods)


def analyse(
    analyser: Analyser, task: Task, pair: Pair, ensembles: Ensembles, seed: int
) -> tuple[Step, float]:
    """The analysis of ``task`` and the seconds it took."""
    method = METHODS.get(task.method, Method(analyses=False))
    forecasts = (
        ensembles.around(pair, method.members) if method.members > 1 else pair.background[None]
    )
    checkpoint = analyser.checkpoint
    network = draw(
        task.network,
        task.noise,
        checkpoint.state,
        checkpoint.statics["lsm"],
        np.random.default_rng([42, seed]),
    )
    began = clock.perf_counter()
    if not method.analyses:
        nothing = np.zeros_like(pair.background)
        return Step(nothing, nothing, nothing[None], nothing[None][:0], 1.0), 0.0
    step = analyser(method, forecasts, pair.truth, network, Valid(pair.time, pair.lead, seed))
    return step, clock.perf_counter() - began


def main() -> None:
    """Run what is missing and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="store of 6 h forecasts of a cycle over a nature run never trained on",
    )
    parser.add_argument(
        "--ensembles", type=Path, help="folder of benchmarks.cycles with kept forecasts"
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--guided", type=int, default=2, help="cases that guidance is scored on")
    parser.add_argument(
        "--samples", type=int, default=16, help="members that phyda and guidance draw"
    )
    parser.add_argument("--noises", type=float, nargs="+", default=list(NOISES))
    parser.add_argument(
        "--quick", action="store_true", help="the demo's pair, two networks, 8 members; no guidance"
    )
    args = parser.parse_args()
    if not args.quick and args.data is None:
        parser.error("give --data, or --quick")
    checkpoint = Checkpoint.open(args.checkpoint)
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "cases.jsonl"
    records = (
        [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        if log.exists()
        else []
    )
    done = {(r["network"], r["noise"], r["case"], r["method"]) for r in records}
    ensembles = Ensembles(args.ensembles)
    pairs = [bundled_pair(checkpoint.state)] * 2 if args.quick else pairs_of(args.data, args.cases)
    networks = tuple(NETWORKS)[1:3] if args.quick else tuple(NETWORKS)
    todo = [
        t
        for t in tasks(
            pairs, ensembles, 0 if args.quick else args.guided, networks, tuple(args.noises)
        )
        if t.key not in done
    ]
    analyser, scorer = (
        Analyser(checkpoint, 8 if args.quick else args.samples),
        Scorer(checkpoint.state),
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress, log.open("a", encoding="utf-8") as file:
        bar = progress.add_task("analyses", total=len(todo))
        for task in todo:
            pair = pairs[task.case]
            step, seconds = analyse(analyser, task, pair, ensembles, task.case)
            record = {
                "network": task.network,
                "noise": task.noise,
                "case": task.case,
                "method": task.method,
                "seconds": seconds,
            }
            records.append(record | scorer(pair, step))
            file.write(json.dumps(records[-1]) + "\n")
            file.flush()
            progress.advance(bar)
    write_report(args.out, records, checkpoint)


if __name__ == "__main__":
    main()

"""A limited area from real reanalyses: oi and phyda on the days of the test years, yesterday's
analysis as background, few stations.

    python -m benchmarks.limited_area weurope --training data/weurope.zarr --test
        data/weurope-test.zarr --checkpoint runs/weurope/checkpoint --out DIR [--every 1] [--quick]
    python -m benchmarks.limited_area weurope --training data/weurope.zarr --out DIR --tune

The stores are of ``phyda preprocess --pairs lagged``. 12 and 30 stations at random places report
every channel with its default error (z500 100 m2 s-2, t850 1 K, msl 100 Pa), noise and places drawn
anew for each day. All methods see the same observations and run as in ``phyda assimilate`` below
the reading of files. ``oi`` is the plain linear analysis with all differences of the training
years, tuned by ``--tune`` on those; ``corrected oi`` is the method oi with phyda's checkpoint.

``DIR/limited-area.jsonl`` has a line for each analysis; what is there is not made again.
``DIR/limited-area.json`` and ``.md`` are the scores of all of them. Bars: phyda 22 % (12 stations)
and 16 % (30) below oi in RMSE averaged over channels, spread over skill 0.9 to 1.1.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.limited_baseline import TUNED, baseline
from benchmarks.limited_cases import cases, score
from benchmarks.limited_report import missed, summary, write_report
from benchmarks.limited_tuning import TrainingYears, search
from benchmarks.outcome import finish
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.analysis import AnalysisSettings

COUNTS = (12, 30)
QUICK = 4  # cases


def main() -> None:
    """Score, or tune; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("region", choices=list(TUNED))
    parser.add_argument("--training", type=Path, required=True, help="store of the training years")
    parser.add_argument("--test", type=Path, help="store of the test years")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--every", type=int, default=1, help="days between cases")
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--tune", action="store_true", help="search the settings of oi")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} days only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.tune:
        tune(PairStore.open(args.training), args.out, 4 if args.quick else 100)
        return
    if args.checkpoint is None or args.test is None:
        parser.error("give --checkpoint and --test, or --tune")
    store, checkpoint = PairStore.open(args.test), Checkpoint.open(args.checkpoint)
    solver, scale = TUNED[args.region]
    plain = baseline(args.training, solver, args.out / "oi")
    for each in (plain, checkpoint):
        require_unseen(store, each)
    every = max(1, len(store.pairs) // QUICK) if args.quick else args.every
    methods = {
        "oi": (plain, AnalysisSettings(method="oi", background_error_scale=scale)),
        "corrected oi": (checkpoint, AnalysisSettings(method="oi")),
        "phyda": (checkpoint, AnalysisSettings(method="phyda", members=args.members)),
    }
    records = run(store, methods, every, args.out / "limited-area.jsonl")
    result = summary(records, checkpoint.state.channels)
    write_report(args.out, result, checkpoint.metadata.name)
    print((args.out / "limited-area.md").read_text(encoding="utf-8"))
    finish([] if args.quick else missed(result))


def run(
    store: PairStore,
    methods: dict[str, tuple[Checkpoint, AnalysisSettings]],
    every: int,
    path: Path,
) -> list[dict[str, Any]]:
    """A record for each analysis, those of ``path`` and the new ones, which are added to it."""
    told = {
        "every": every,
        "methods": {n: [c.sha256, s.model_dump(mode="json")] for n, (c, s) in methods.items()},
    }
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [json.dumps(told)]
    if json.loads(lines[0]) != told:
        raise SystemExit(
            f"{path} holds results of another checkpoint or other settings: choose another folder"
        )
    records = [json.loads(line) for line in lines[1:]]
    made = {(r["stations"], r["method"], r["time"]) for r in records}
    with path.open("a", encoding="utf-8") as file:
        if len(lines) == 1 and not records:
            file.truncate(0)
            file.write(lines[0] + "\n")
        for count in COUNTS:
            for case in cases(store, methods["oi"][0].state, count, every):
                for name, (checkpoint, settings) in methods.items():
                    key = {"stations": count, "method": name, "time": str(case.time)}
                    if tuple(key.values()) in made:
                        continue
                    records.append(
                        key | {k: v.tolist() for k, v in score(case, checkpoint, settings).items()}
                    )
                    file.write(json.dumps(records[-1]) + "\n")
                    file.flush()
    return records


def require_unseen(store: PairStore, checkpoint: Checkpoint) -> None:
    """Leave when the checkpoint was trained on any of the store's days."""
    last = str(checkpoint.metadata.training.get("last", ""))
    if last and str(store.time[store.pairs[:, 1]].min()) <= last:
        raise SystemExit(
            f"the checkpoint's training ends on {last}, the test begins on "
            f"{store.time[store.pairs[:, 1]].min()}"
        )


def tune(store: PairStore, folder: Path, count: int) -> None:
    """Print and write the search for oi's settings."""
    best, tried = search(
        TrainingYears(store, count), COUNTS, lambda row: print(json.dumps(row), flush=True)
    )
    (folder / "limited-tuning.json").write_text(
        json.dumps({"best": best, "tried": tried}, indent=1), encoding="utf-8"
    )
    print(f"best: {best}")


if __name__ == "__main__":
    main()

"""What the physics term of training and the physics projection change, on days never trained on.

    python -m benchmarks.physics --data data/test.zarr [--cases 12] [--members 16] [--checkpoint A
    --without-physics B] [--json FILE] python -m benchmarks.physics --quick

Pairs, networks and observations are those of benchmarks.held_out. Rows are the words of ``phyda
assimilate --physics``, for oi, for phyda and for its single members; those of B, a checkpoint
trained with ``phyda train --physics 0``, say "untaught" and use the sampler settings of A.
``damped`` takes out only so much of the excess that what is left has the variance of true
increments.

 mse        mean over channels of the mean square error over the background's; better: cases in
 which it is below that of ``train`` residual   rms of each equation's residual over the truth's;
 excess: rms of its difference from the truth's over the background's. Both relative by layer and
 averaged over layers.
 humidity   percent of points below zero and above saturation
 cost       seconds an analysis, the least of the cases: the factorisation, the mean and all members
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.held_out import Case, Pair, bundled_pair, cases, networks, pairs_of_store
from benchmarks.outcome import finish
from phyda_cli.analysis.balance import Constraints
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.model.encoder import MIN_SPREAD
from phyda_cli.physics.state_physics import StatePhysics
from phyda_cli.physics.thermodynamics import saturation_specific_humidity

PROJECTED = {"hydrostatic": "zt", "mass": "uv"}
Key = tuple[str, str]


class Physics:
    """Sums over cases, by (method, word), of squared errors and of squared residuals by equation
    and layer."""

    def __init__(self, spec: StateSpec) -> None:
        self.area = spec.grid.area_weights[:, None]
        self.unit = spec.column("background_std").astype(float)
        self.physics = StatePhysics(spec)
        self.sums: dict[Key, dict[str, np.ndarray]] = {}
        self.cases: dict[Key, list[float]] = {}
        self.seconds: dict[Key, float] = {}

    def add(
        self,
        key: Key,
        pair: Pair,
        increments: np.ndarray,
        spread: np.ndarray | None,
        seconds: float,
    ) -> None:
        """Increments (M, C, H, W) and their ``spread`` (C, H, W) in physical units; M states make
        one case."""
        background, truth = (a.astype(float)[None] for a in (pair.background, pair.truth))
        state = background + increments

        def square(difference: np.ndarray) -> np.ndarray:
            return ((difference / self.unit) ** 2 * self.area).mean(axis=(0, 2, 3))

        row = {
            "error": square(state - truth),
            "prior": square(background - truth),
            "n": np.array(1.0),
        }
        row["width"] = square(np.zeros_like(truth) if spread is None else spread[None])
        row["humidity"] = self._impossible(torch.from_numpy(state))
        ours, target, prior = (
            self.physics.residuals(torch.from_numpy(a)) for a in (state, truth, background)
        )
        for name in ours:
            fields = {
                "own": ours[name],
                "truth": target[name],
                "left": ours[name] - prior[name],
                "excess": ours[name] - target[name],
                "prior_excess": prior[name] - target[name],
            }
            for kind, field in fields.items():
                row[f"{kind} {name}"] = (
                    self.physics.mean_square({name: field})[name].mean(0).numpy()
                )
        kept = self.sums.setdefault(key, {k: np.zeros_like(v) for k, v in row.items()})
        for name, value in row.items():
            kept[name] += value
        self.cases.setdefault(key, []).append(float((row["error"] / row["prior"]).mean()))
        self.seconds[key] = min(seconds, self.seconds.get(key, seconds))

    def _impossible(self, state: torch.Tensor) -> np.ndarray:
        """Percent of the points of states below zero humidity and above saturation (2,)."""
        t, q = (state[:, self.physics.channels[v]] for v in "tq")
        saturation = saturation_specific_humidity(
            t, torch.from_numpy(self.physics.levels)[:, None, None]
        )
        return np.array(
            [100 * float(bad.double().mean()) for bad in (q < 0, q > (1 + 1e-9) * saturation)]
        )

    def table(self) -> dict[Key, dict[str, float]]:
        """The scores of the module's docstring by (method, word); ``left`` is the increment's own
        excess, relative as ``excess``, and ``better`` the number of cases whose error is below that
        of ``train``."""
        out = {}
        for key, s in self.sums.items():
            row = {
                "mse": float((s["error"] / s["prior"]).mean()),
                "spread_skill": _root(s["width"].mean() / max(s["error"].mean(), 1e-30)),
            }
            for name in (k.removeprefix("own ") for k in s if k.startswith("own ")):
                row[f"residual {name}"] = _root(s[f"own {name}"] / s[f"truth {name}"])
                row[f"excess {name}"] = _root(s[f"excess {name}"] / s[f"prior_excess {name}"])
                row[f"left {name}"] = _root(s[f"left {name}"] / s[f"prior_excess {name}"])
            row |= {
                "negative": float(s["humidity"][0] / s["n"]),
                "supersaturated": float(s["humidity"][1] / s["n"]),
            }
            reference = self.cases.get((key[0], "train"), self.cases[key])
            better = sum(
                ours < theirs for ours, theirs in zip(self.cases[key], reference, strict=True)
            )
            out[key] = row | {
                "seconds": self.seconds[key],
                "cases": float(s["n"]),
                "better": float(better),
            }
        return out


def _root(squares: np.ndarray) -> float:
    return float(np.sqrt(np.mean(squares)))


def words(
    physics: StatePhysics,
    scale: dict[str, list[float]],
    pair: Pair,
    raw: np.ndarray,
    projected: np.ndarray,
) -> dict[str, np.ndarray]:
    """Increments (M, C, H, W) by word of ``--physics``, and ``damped``; ``scale`` is the mean
    square excess of true increments."""
    train, damped, q = raw.copy(), projected.copy(), physics.channels["q"]
    train[:, q] = np.maximum(raw[:, q], -np.maximum(pair.background[q], 0))
    background = torch.from_numpy(pair.background.astype(float))
    excess = physics.difference(background + torch.from_numpy(raw), background)
    for name, variables in PROJECTED.items():
        relative = float((excess[name].mean(0) / torch.tensor(scale[name])).mean())
        index = [i for v in variables for i in physics.channels[v]]
        damped[:, index] += min(1.0, relative**-0.5) * (raw - projected)[:, index]
    return {"off": raw, "train": train, "project": projected, "damped": damped}


def score(scores: Physics, checkpoint: Checkpoint, case: Case, weights: str, shared: bool) -> None:
    """Add every word of phyda and its members under the name of their ``weights``; ``shared``
    methods too."""
    pair, unit, sampled = case.pair, case.linear.unit, case.sampled
    assert sampled is not None
    width = case.virtual.spread * unit
    began = time.perf_counter()
    constraints = Constraints(
        checkpoint.state,
        pair.background,
        np.maximum(width, MIN_SPREAD * unit),
        np.ones(unit.size, bool),
    )
    raw = np.concatenate([sampled.mean[None], sampled.members]) * unit
    projected = np.stack([constraints(x) for x in raw])
    cost = {"project": time.perf_counter() - began}

    def versions(raw: np.ndarray, projected: np.ndarray) -> dict[str, np.ndarray]:
        return words(scores.physics, checkpoint.metadata.physics_scale, pair, raw, projected)

    if shared:
        for name, state in (("truth", pair.truth), ("background", pair.background)):
            scores.add((name, ""), pair, (state - pair.background.astype(float))[None], None, 0.0)
        increment = case.linear.mean[None] * unit
        for word, increments in versions(increment, constraints(increment[0])[None]).items():
            scores.add(("oi", word), pair, increments, width, 0.0)
    members = versions(raw[1:], projected[1:])
    for word, mean in versions(raw[:1], projected[:1]).items():
        scores.add(
            (f"phyda{weights}", word),
            pair,
            mean,
            members[word].std(axis=0, ddof=1),
            cost.get(word, 0.0),
        )
    for word, each in members.items():
        scores.add((f"member{weights}", word), pair, each, None, 0.0)


def bars(table: dict[Key, dict[str, float]]) -> list[str]:
    """What must hold: nothing left of what is projected, and analyses as good."""
    missed = []
    for (method, word), row in table.items():
        if word == "project":
            missed += [
                f"{method}: {name} excess left" for name in PROJECTED if row[f"left {name}"] > 1e-9
            ]
            missed += [f"{method}: mse"] * (row["mse"] > 1.01 * table[method, "train"]["mse"])
            missed += [f"{method}: negative humidity"] * (
                row["negative"] > table["background", ""]["negative"]
            )
    return missed


def show(network: str, table: dict[Key, dict[str, float]]) -> None:
    """Print one table."""
    names = [
        k.removeprefix("residual ") for k in next(iter(table.values())) if k.startswith("residual ")
    ]
    columns = "".join(f"{n.replace('momentum', 'mom')[:13]:>14}" for n in names)
    print(f"\n{network}: residual rms over the truth's | excess over the background's")
    print(
        f"{'method':17}{'physics':>8}{'mse':>7}{'better':>7}{'sp/sk':>6}{columns}"
        f"{'q<0 %':>7}{'q>qs %':>7}{'cost s':>7}"
    )
    for (method, word), r in table.items():
        cells = "".join(f"{r[f'residual {n}']:8.3f}|{r[f'excess {n}']:5.2f}" for n in names)
        scores = f"{r['mse']:7.4f}{r['better']:7.0f}{r['spread_skill']:6.2f}"
        rest = f"{r['negative']:7.2f}{r['supersaturated']:7.2f}{r['seconds']:7.2f}"
        print(f"{method:17}{word:>8}{scores}{cells}{rest}", flush=True)


def main() -> None:
    """Print a table for each network; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="training store of the held-out days")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument(
        "--without-physics", type=Path, help="checkpoint trained alike but for the physics term"
    )
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--quick", action="store_true", help="the bundled pair with 400 soundings only, 4 members"
    )
    args = parser.parse_args()
    if not args.quick and args.data is None:
        parser.error("give --data, or --quick")
    checkpoints = {"": Checkpoint.open(args.checkpoint)}
    if args.without_physics:
        other, sampler = Checkpoint.open(args.without_physics), checkpoints[""].metadata.sampler
        checkpoints[" untaught"] = replace(
            other, metadata=other.metadata.model_copy(update={"sampler": sampler})
        )
    spec, land = checkpoints[""].state, checkpoints[""].statics["lsm"]
    pairs = (
        [bundled_pair(spec)] if args.quick else list(pairs_of_store(args.data, spec, args.cases))
    )
    result, missed = {}, []
    for name, network in list(networks(spec, land).items())[: 1 if args.quick else None]:
        scores = Physics(spec)
        for weights, checkpoint in checkpoints.items():
            for case in cases(checkpoint, pairs, network, 4 if args.quick else args.members):
                score(scores, checkpoint, case, weights, shared=not weights)
        table = scores.table()
        show(name, table)
        missed += [f"{name}: {what}" for what in bars(table)]
        result[name] = [
            {"method": method, "physics": word} | row for (method, word), row in table.items()
        ]
    finish(missed, result, args.json)


if __name__ == "__main__":
    main()

"""Initialisation shock: surface-pressure tendency noise of jcm forecasts from truth, background and
analyses.

    python -m benchmarks.shock --nature data/nature-test --out runs/shock [--cases 16]
    [--without-physics CHECKPOINT]

The background is a 24 h forecast of jcm from a perturbed nature state. Every method sees the same
observations (400 soundings, as in benchmarks.held_out) and its increment is added to the
background's native state, as it is and after the physics projection; with "IAU" in twelve parts
over the first 6 h (incremental analysis update). "Perfect increment" is the truth less the
background on the model grid: what the way from the model's grid and levels to jcm's costs. Noise is
the area mean of |dps/dt| between outputs 30 minutes apart, averaged over the first 24 h (and over
the first 6 h). A state out of balance rings with external gravity waves, which this measures. Cases
are saved one by one in OUT and a second run continues. The bar: with IAU at most 1.15 times the
noise of a perfect increment that is added at once. Needs the extra ``phyda[nature]``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.networks import soundings
from benchmarks.outcome import finish
from phyda_cli.analysis.balance import Constraints
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import Increment, ModelGridSettings, Networks, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.model.encoder import MIN_SPREAD
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
)
from phyda_cli.simulation.simulate import simulate
from phyda_cli.simulation.speedy_link import SpeedyLink

SAVED_PER_DAY = 48
LEAD = 4  # outputs of 6 h between the background's start and the analysis
SLOWLY = ("oi", "phyda mean", "perfect increment")  # added slowly too
ALLOWED = 1.15  # noise of phyda's analyses, added slowly, over that of a perfect increment


def noise(states: list[Native], weights: np.ndarray) -> dict[str, float]:
    """Mean |dps/dt| [Pa/h] over the first 6 h and over the whole forecast; ``weights`` (lat,) of
    mean one."""
    pressure = np.stack([s["ps"] for s in states]).astype(np.float64)  # (T, lon, lat)
    tendency = (np.abs(np.diff(pressure, axis=0)) * weights).mean(axis=(1, 2)) * SAVED_PER_DAY / 24
    return {
        "first_6h": float(tendency[: SAVED_PER_DAY // 4].mean()),
        "first_24h": float(tendency.mean()),
    }


class Shock:
    """One case after another: forecast the background, analyse, forecast from everything."""

    def __init__(self, nature: Path, checkpoint: Checkpoint, without: Checkpoint | None) -> None:
        chunks = [load_states(path) for path in chunk_paths(nature)]
        self.times = np.concatenate([times for times, _ in chunks])
        self.states = [state for _, states in chunks for state in states]
        self.checkpoint, self.without = checkpoint, without
        self.link = SpeedyLink(checkpoint.state)
        self.localisation = Localisation.of(checkpoint.state, checkpoint.metadata.solver)
        self.lead_model = SpeedyModel(self.times[0], LEAD / 4)
        self.model = SpeedyModel(self.times[0], 1.0, SAVED_PER_DAY)
        self.update = IncrementalUpdate(self.link, self.times[0], SAVED_PER_DAY // STEPS_PER_DAY)
        self.rest = SpeedyModel(self.times[0], 1 - 1 / STEPS_PER_DAY, SAVED_PER_DAY)

    def increments(self, index: int) -> tuple[Native, dict[str, np.ndarray]]:
        """The native background at output ``index``, and increments (C, H, W) to it by method."""
        rng = np.random.default_rng([77, index])
        first = perturbed(
            self.states[index - LEAD],
            lagged_perturbation(self.states, rng, float(rng.uniform(1.0, 1.7))),
        )
        background = self.lead_model.forecast(first, self.times[index - LEAD])[-1]
        background = {k: background[k] for k in PROGNOSTIC} | {
            k: background[k] for k in ("t2m", "u10", "v10")
        }

        checkpoint, spec = self.checkpoint, self.checkpoint.state
        unit = spec.column("background_std")
        stacks = self.link.stack([background, self.states[index]])
        target = ((stacks[1] - stacks[0]) / unit).astype(np.float32)
        network, seed = soundings(spec, 400, rng), rng.integers(2**32)
        observations = simulate(spec, target, network, np.random.default_rng(seed))
        linear = self.analysed(checkpoint, stacks[0], index, observations, stages=1)
        increment = {"oi": linear.mean * linear.unit, "perfect increment": target * unit}
        for name, model in (("phyda", checkpoint), ("phyda without PRDO", self.without)):
            if model is not None:
                found = self.analysed(model, stacks[0], index, observations)
                increment[f"{name} mean"] = found.mean * found.unit
                increment[f"{name} member"] = found.members[0] * found.unit
        project = Constraints(
            spec,
            stacks[0],
            np.maximum(linear.linear_spread, MIN_SPREAD) * linear.unit,
            np.ones(spec.n_channels, bool),
        )
        increment |= {
            f"{k}, projected": project(v) for k, v in increment.items() if k != "perfect increment"
        }
        return background, increment

    def analysed(
        self,
        model: Checkpoint,
        background: np.ndarray,
        index: int,
        observations: Observations,
        stages: int = 3,
    ) -> Increment:
        """The analysis at output ``index``: the mean of 16 members, or stage 1 alone."""
        time = self.times[index]
        prior = Prior.static(model, background, time, 6.0 * LEAD, self.localisation)
        networks = Networks.of(model) if stages > 1 else None
        settings = ModelGridSettings(members=16 if stages > 1 else 0, seed=index)
        return analyse(prior, observations, networks, settings)

    def run(self, index: int) -> dict[str, dict[str, float]]:
        """Noise by method of the case at output ``index``."""
        weights, time = self.link.native.area_weights, self.times[index]
        background, increments = self.increments(index)
        truth = {k: self.states[index][k] for k in PROGNOSTIC}
        starts = {"truth": truth, "background": background}
        starts |= {k: self.link.add(background, v) for k, v in increments.items()}
        found = {k: noise(self.model.forecast(s, time), weights) for k, s in starts.items()}
        for name in SLOWLY:
            states = self.update.forecast(background, increments[name], time)
            later = time + np.timedelta64(24 // STEPS_PER_DAY, "h")
            states += self.rest.forecast(states[-1], later)
            found[f"{name}, IAU"] = noise(states, weights)
        return found


def table(cases: list[dict[str, dict[str, float]]]) -> str:
    """Noise by method with its ratio to the truth's and the ratio's 95 % interval (bootstrap over
    cases)."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(cases), (2000, len(cases)))
    lines = [f"{'start':38} {'6 h':>7} {'24 h':>7} [Pa/h]  ratio to truth, 24 h"]
    truth = np.array([c["truth"]["first_24h"] for c in cases])
    for name in cases[0]:
        day = np.array([c[name]["first_24h"] for c in cases])
        early = float(np.mean([c[name]["first_6h"] for c in cases]))
        low, high = np.percentile(day[draws].mean(axis=1) / truth[draws].mean(axis=1), [2.5, 97.5])
        lines.append(
            f"{name:38} {early:7.2f} {day.mean():7.2f}         {day.mean() / truth.mean():.3f} "
            f"({low:.3f}–{high:.3f})"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--nature", type=Path, required=True, help="folder of a nature run never trained on"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the cases done")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument(
        "--without-physics", type=Path, help="the same model trained with physics = 0"
    )
    parser.add_argument("--cases", type=int, default=16)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    without = None if args.without_physics is None else Checkpoint.open(args.without_physics)
    shock = Shock(args.nature, Checkpoint.open(args.checkpoint), without)
    cases = []
    for index in np.linspace(LEAD, len(shock.states) - 1, args.cases).astype(int):
        path = args.out / f"case_{index:04d}.json"
        if not path.exists():
            path.write_text(json.dumps(shock.run(int(index))), encoding="utf-8")
        cases.append(json.loads(path.read_text(encoding="utf-8")))
        print(f"{len(cases)} of {args.cases} cases", flush=True)
    print(table(cases))
    mean = {name: float(np.mean([c[name]["first_24h"] for c in cases])) for name in cases[0]}
    wanted = ALLOWED * mean["perfect increment"]
    finish(
        [
            f"{name} {mean[name]:.1f} Pa/h"
            for name in map("{}, IAU".format, SLOWLY)
            if mean[name] > wanted
        ]
    )


if __name__ == "__main__":
    main()

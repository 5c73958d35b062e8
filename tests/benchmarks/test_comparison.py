"""What the comparison of methods is made of: networks, scores and the table's ratios, against known
answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.held_out import bundled_pair
from benchmarks.methods import METHODS, Analyser, Step, Valid
from benchmarks.networks import NETWORKS, draw
from benchmarks.osse_report import Group
from benchmarks.osse_scores import Scorer
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint

ANALYSED = ("oi", "phyda", "phyda, diffusion off", "letkf-20", "hybrid-40", "phyda-hybrid-40")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint.open(BUNDLED)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_observe_what_they_say(checkpoint: Checkpoint, name: str) -> None:
    spec, land = checkpoint.state, checkpoint.statics["lsm"]
    one, again, noisy = (
        draw(name, noise, spec, land, np.random.default_rng(3)) for noise in (1.0, 1.0, 2.0)
    )
    assert (one.matrix != again.matrix).nnz == 0
    np.testing.assert_allclose(noisy.error, 2 * one.error)
    levels = {spec.channel_list[i].level is None for i in one.channel}
    assert levels == {"1000 surface": {True}, "1000 aircraft": {False}}.get(name, {True, False})
    places = len(set(zip(one.latitude.tolist(), one.longitude.tolist(), strict=True)))
    assert places == (760 if name == "mix over land" else int(name.split()[0]))
    scalar = ~np.asarray(spec.is_vector)[one.channel]  # wind changes sign across a pole
    np.testing.assert_allclose(np.asarray(one.matrix.sum(axis=1)).ravel()[scalar], 1, atol=1e-5)


def test_the_mix_gathers_around_a_few_places(checkpoint: Checkpoint) -> None:
    network = draw(
        "mix over land", 1.0, checkpoint.state, checkpoint.statics["lsm"], np.random.default_rng(3)
    )
    even = draw(
        "1000 surface", 1.0, checkpoint.state, checkpoint.statics["lsm"], np.random.default_rng(3)
    )

    def occupied(n: object) -> float:
        cells = {(int(a // 10), int(o // 20)) for a, o in zip(n.latitude, n.longitude, strict=True)}  # type: ignore[attr-defined]
        return len(cells)

    assert occupied(network) < 0.8 * occupied(even)


@pytest.mark.parametrize("name", ANALYSED)
def test_every_method_improves_on_the_background(checkpoint: Checkpoint, name: str) -> None:
    pair, method = bundled_pair(checkpoint.state), METHODS[name]
    forecasts = pair.background[None]
    if method.members > 1:
        static = checkpoint.members(pair.time)[: method.members].numpy()
        static = (static - static.mean(axis=0)) * len(checkpoint.metadata.member_times) ** 0.5
        forecasts = pair.background + static * checkpoint.state.column("background_std")
    network = draw(
        "400 soundings", 1.0, checkpoint.state, checkpoint.statics["lsm"], np.random.default_rng(0)
    )
    step = Analyser(checkpoint, 4)(
        method, forecasts, pair.truth, network, Valid(pair.time, pair.lead, 0)
    )
    record = Scorer(checkpoint.state)(pair, step)
    assert np.sqrt(np.mean(record["square"]) / np.mean(record["prior"])) < 0.95
    assert step.increments.shape == forecasts.shape
    np.testing.assert_allclose(
        step.increments.mean(axis=0), step.increment, atol=1e-2 * np.abs(step.increment).max()
    )
    assert len(step.members) == (
        0 if name in ("oi", "phyda, diffusion off") else 4 if "phyda" in name else method.members
    )


def test_relaxation_and_additive_inflation_of_the_filter(checkpoint: Checkpoint) -> None:
    """Relaxed to all of the forecasts' perturbations, every forecast has the mean's increment; half
    way, half of its own. Additive inflation adds static members without their mean."""
    pair = bundled_pair(checkpoint.state)
    rng = np.random.default_rng(6)
    network = draw("100 soundings", 0.2, checkpoint.state, checkpoint.statics["lsm"], rng)
    static = checkpoint.all_members().numpy()[:20]
    forecasts = pair.background + (static - static.mean(axis=0)) * checkpoint.state.column(
        "background_std"
    )

    def increments(**changes: float) -> np.ndarray:
        method = replace(METHODS["letkf-20"], rtps=0.0, **changes)  # type: ignore[arg-type]
        case = forecasts, pair.truth, network, Valid(pair.time, pair.lead, 3)
        return Analyser(checkpoint, 4)(method, *case).increments

    plain = increments()
    mean, unit = plain.mean(axis=0), checkpoint.state.column("background_std")
    for share in (0.5, 1.0):
        relaxed = increments(rtpp=share)
        np.testing.assert_allclose(
            relaxed / unit, (mean + (1 - share) * (plain - mean)) / unit, atol=1e-4
        )
    added = (increments(additive=0.1) - plain) / unit / 0.1
    np.testing.assert_allclose(added.mean(axis=0), 0, atol=1e-3)
    assert added.std() == pytest.approx(static.std(), rel=0.1)


def test_scores_of_known_analyses(checkpoint: Checkpoint) -> None:
    pair, unit = bundled_pair(checkpoint.state), checkpoint.state.column("background_std")
    truth = (pair.truth - pair.background).astype(np.float32)
    zero, scorer = np.zeros_like(truth), Scorer(checkpoint.state)
    perfect = scorer(pair, Step(truth, zero, truth[None], truth[None][:0], 1.0))
    assert np.max(perfect["square"]) < 1e-6
    assert np.max(perfect["crps"]) < 1e-6
    for own, true in perfect["residual"].values():
        np.testing.assert_allclose(own, true, rtol=1e-3)
    noise = np.random.default_rng(0).standard_normal((40, *truth.shape)).astype(np.float32)
    members = truth + unit * (
        noise[1:] - noise[0]
    )  # members and truth are draws of one distribution
    record = scorer(pair, Step(members.mean(0), members.std(0), members, members, 1.0))
    assert np.mean(record["width"]) / np.mean(record["square"]) == pytest.approx(39 / 40, abs=0.05)
    ranks = np.sum(record["ranks"], axis=0)
    assert ranks.size == 40
    assert ranks.sum() == checkpoint.state.n_channels * 5 * 11
    assert (
        (ranks - ranks.mean()) ** 2 / ranks.mean()
    ).sum() < 70  # chi-square of 39 degrees of freedom: 99.8 %


def record(case: int, method: str, square: float, width: float = 1.0) -> dict[str, object]:
    ones = np.ones(3)
    return {
        "case": case,
        "method": method,
        "square": (square * ones).tolist(),
        "prior": (4 * ones).tolist(),
        "width": (width * ones).tolist(),
        "crps": (square * ones).tolist(),
        "seconds": 1.0,
        "residual": {"mass": [[2.0], [1.0]]},
    }


def test_ratios_of_the_table() -> None:
    records = [record(c, "oi", 1.0) for c in range(6)] + [
        record(c, "phyda", 0.64 if c else 0.25, 0.25) for c in range(4)
    ]
    group = Group(records, ["t", "t", "u"])
    cases = group.cases("phyda")
    assert cases.tolist() == [0, 1, 2, 3]
    mean_square = (0.25 + 3 * 0.64) / 4
    np.testing.assert_allclose(group.rmse("phyda", cases), np.sqrt(mean_square / 4))
    ratio, low, high = group.against_oi("phyda")
    assert ratio == pytest.approx(np.sqrt(mean_square))
    assert 0.499 < low < ratio < high < 0.801
    assert group.spread_skill("phyda") == pytest.approx(
        {"t": 0.5 / np.sqrt(mean_square), "u": 0.5 / np.sqrt(mean_square)}
    )
    assert group.crps("phyda") == pytest.approx(mean_square)
    assert group.residuals("phyda") == {"mass": pytest.approx(2**0.5)}
    assert np.isnan(group.flat_ranks("phyda"))

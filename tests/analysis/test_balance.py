"""Which channels form which constraint, and the projection as the engine applies it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import CHANNELS, GRID, LEVELS, TIME, amplitudes, fields_at, spec

from phyda_cli.analysis.analyse import Analysis, analyse, pose
from phyda_cli.analysis.balance import Constraints
from phyda_cli.errors import GateError
from phyda_cli.fields.grid import Fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.physics.residuals import Residuals
from phyda_cli.physics.thermodynamics import saturation_specific_humidity
from phyda_cli.settings.analysis import AnalysisSettings

PRESSURES = np.array(LEVELS) * 100.0


def stack(hours_before: int = 24, channels: tuple[str, ...] = CHANNELS) -> np.ndarray:
    """The channels of the synthetic weather (C, H, W)."""
    fields = fields_at(amplitudes(hours_before))
    every = np.concatenate([*(fields[v] for v in "ztuvq"), fields["msl"][None]])
    return every[[CHANNELS.index(c) for c in channels]]


def noise(channels: tuple[str, ...] = CHANNELS) -> np.ndarray:
    return spec(channels).column("background_std") * np.random.default_rng(3).standard_normal(
        (len(channels), *GRID.shape)
    )


def project(
    change: np.ndarray, channels: tuple[str, ...] = CHANNELS, lacking: str = ""
) -> np.ndarray:
    """The projection of ``change`` where the background does not have the variables ``lacking``."""
    state = spec(channels)
    sigma = np.broadcast_to(state.column("background_std"), change.shape)
    return Constraints(
        state, stack(channels=channels), sigma, np.array([c[0] not in lacking for c in channels])
    )(change)


def left(
    change: np.ndarray, variables: str = "ztuvq", channels: tuple[str, ...] = CHANNELS
) -> dict[str, float]:
    """Largest difference of the residuals with and without ``change``, relative to that with noise
    instead."""
    residuals = Residuals(PRESSURES, GRID)

    def of(state: np.ndarray) -> dict[str, torch.Tensor]:
        return residuals(
            **{
                v: torch.from_numpy(state[[channels.index(f"{v}{p}") for p in LEVELS]])
                for v in variables
            }
        )

    background = stack(channels=channels)
    before, after, rough = (of(background + c) for c in (0 * change, change, noise(channels)))
    names = [n for n in ("hydrostatic", "mass") if n in before]
    size = {n: float(((rough[n] - before[n]) * residuals.mask).abs().max()) for n in names}
    return {
        n: float(((after[n] - before[n]) * residuals.mask).abs().max()) / size[n] for n in names
    }


def changed(
    before: np.ndarray, after: np.ndarray, channels: tuple[str, ...] = CHANNELS
) -> set[str]:
    return {
        c[0] for c, moved in zip(channels, (before != after).any(axis=(1, 2)), strict=True) if moved
    }


def test_everything_at_once() -> None:
    change = noise()
    projected = project(change)
    assert changed(change, projected) == set("ztquv")
    assert max(left(projected).values()) < 1e-10
    np.testing.assert_array_equal(projected[-1], change[-1])
    assert not project(0 * change).any()


@pytest.mark.parametrize(
    ("lacking", "moved", "variables"),
    [
        ("z", "quv", "tuvq"),
        ("t", "uv", "zuvq"),
        ("u", "ztq", "ztq"),
        ("v", "ztq", "ztq"),
        ("q", "ztuv", "ztuv"),
        ("ztuvq", "", ""),
    ],
)
def test_what_the_background_lacks_is_left_out(lacking: str, moved: str, variables: str) -> None:
    """Without humidity air is dry."""
    change = noise()
    projected = project(change, lacking=lacking)
    assert changed(change, projected) == set(moved)
    assert all(value < 1e-10 for value in left(projected, variables).values())


def test_a_model_that_lacks_them() -> None:
    for channels, moved in (
        (("z500", "t850", "msl"), ""),
        (("z500", "t500", "q500", "u500", "v500"), "q"),
        (tuple(c for c in CHANNELS if c[0] != "q"), "ztuv"),
        (tuple(c for c in CHANNELS if c != "z300"), "ztquv"),
        (tuple(reversed(CHANNELS)), "ztquv"),
    ):
        change = noise(channels)
        assert changed(change, project(change, channels), channels) == set(moved)
    assert max(left(project(change, channels), channels=channels).values()) < 1e-10


def test_what_is_not_finite_is_for_the_gate() -> None:
    change = noise()
    change[0, 0, 0] = np.nan
    np.testing.assert_array_equal(project(change), change)


def on_model_grid() -> Fields:
    fields = fields_at(amplitudes(24))
    return Fields(
        GRID,
        TIME,
        PRESSURES,
        {v: fields[v].astype(np.float32) for v in "ztuvq"},
        {"msl": fields["msl"].astype(np.float32)},
    )


def analysed(table: pd.DataFrame, checkpoint: Checkpoint, method: str, physics: str) -> Analysis:
    """On the model's own grid."""
    settings = AnalysisSettings.model_validate(
        {"method": method, "physics": physics, "members": 4, "device": "cpu"}
    )
    background = on_model_grid()
    return analyse(pose(background, table, checkpoint, settings), keep_members=True)


def excess(fields: Fields) -> dict[str, float]:
    """rms difference of the residuals from the background's."""
    residuals = Residuals(PRESSURES, GRID)
    ours, theirs = (
        residuals(**{v: torch.tensor(f.upper[v], dtype=torch.float64) for v in "ztuvq"})
        for f in (fields, on_model_grid())
    )
    return {
        k: float(v) ** 0.5
        for k, v in residuals.mean_square(
            {k: ours[k] - theirs[k] for k in ("hydrostatic", "mass")}
        ).items()
    }


def humidity(fields: Fields) -> np.ndarray:
    """Specific over saturation specific humidity."""
    t = torch.tensor(fields.upper["t"], dtype=torch.float64)
    return (
        fields.upper["q"]
        / saturation_specific_humidity(t, torch.tensor(PRESSURES)[:, None, None]).numpy()
    )


@pytest.mark.parametrize("method", ["oi", "phyda", "guidance"])
def test_analysis_and_every_member_are_projected(
    table: pd.DataFrame, checkpoint: Checkpoint, method: str
) -> None:
    trained, projected = (
        analysed(table, checkpoint, method, word) for word in ("train", "project")
    )
    pairs = [
        (trained.fields, projected.fields),
        *zip(trained.members, projected.members, strict=True),
    ]
    assert len(pairs) == (1 if method == "oi" else 5)
    for before, after in pairs:
        for name, size in excess(before).items():
            assert excess(after)[name] < 1e-6 * size
        assert (humidity(after) <= humidity(on_model_grid()).clip(min=1) * (1 + 1e-6)).all()
        apart = np.sqrt(np.mean((before.upper["t"] - after.upper["t"]) ** 2))
        assert 0 < apart < np.sqrt(np.mean((before.upper["t"] - on_model_grid().upper["t"]) ** 2))
    if method != "oi":
        spread = np.std([m.upper["z"] for m in projected.members], axis=0)
        np.testing.assert_allclose(projected.spread.upper["z"], spread, rtol=1e-9)


def test_one_member_keeps_the_spread_of_the_encoder(
    table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    settings = AnalysisSettings(method="phyda", members=1, physics="project", device="cpu")
    background = on_model_grid()
    one, plain = (
        analyse(pose(background, table, checkpoint, s), keep_members=True)
        for s in (settings, settings.model_copy(update={"physics": "train"}))
    )
    np.testing.assert_array_equal(one.spread.upper["t"], plain.spread.upper["t"])
    assert max(excess(one.members[0]).values()) < 1e-6


def test_humidity_as_it_comes(table: pd.DataFrame, checkpoint: Checkpoint) -> None:
    """``off`` publishes negative humidity, ``train`` does not; nothing else differs."""
    dry = on_model_grid()
    dry.upper["q"][:] = np.minimum(dry.upper["q"], 1e-6)  # type: ignore[index]
    results = {}
    for word in ("off", "train"):
        settings = AnalysisSettings.model_validate(
            {"method": "oi", "physics": word, "device": "cpu"}
        )
        results[word] = analyse(pose(dry, table, checkpoint, settings)).fields.upper
    assert results["off"]["q"].min() < -1e-6
    np.testing.assert_array_equal(results["train"]["q"], np.maximum(results["off"]["q"], 0))
    for name in "ztuv":
        np.testing.assert_array_equal(results["off"][name], results["train"][name])


def test_increments_that_are_not_finite_are_still_refused(
    table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    background = on_model_grid()
    settings = AnalysisSettings(method="oi", physics="project", device="cpu")
    problem = pose(background, table, checkpoint, settings)
    problem.departures.innovation[:] = np.nan
    with pytest.raises(GateError, match="not finite"):
        analyse(problem)

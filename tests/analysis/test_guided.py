"""Observations that guide the sampler: the table's rows and operators of the caller's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from synthetic import GRID, amplitudes, fields_at

from phyda_cli.analysis.analyse import Analysis, analyse, pose
from phyda_cli.analysis.guided import UserObservations, row_misfit, user_misfit
from phyda_cli.errors import NoObservationsError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import AnalysisSettings

GUIDANCE = AnalysisSettings(method="guidance", members=6, device="cpu")
CPU = torch.device("cpu")
ROWS, COLUMNS = torch.tensor([1, 2, 5, 6]), torch.tensor([3, 9, 12, 0])


def run(
    background: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    settings: AnalysisSettings = GUIDANCE,
    **options: object,
) -> Analysis:
    return analyse(pose(background, table, checkpoint, settings), **options)


@pytest.fixture
def on_model_grid(background: Fields, checkpoint: Checkpoint) -> Fields:
    """The first guess on the model's own grid and levels, where nothing is interpolated."""
    fields = fields_at(amplitudes(24))
    upper = {k: v.astype(np.float32) for k, v in fields.items() if k != "msl"}
    levels = np.array(sorted({c.pressure for c in checkpoint.state.channel_list if c.pressure}))
    return Fields(GRID, background.time, levels, upper, {"msl": fields["msl"].astype(np.float32)})


def speeds(checkpoint: Checkpoint, error: float = 0.3) -> UserObservations:
    """The true wind speed of 500 hPa at four grid points."""
    u, v = (checkpoint.state.channels.index(c) for c in ("u500", "v500"))
    truth = fields_at(amplitudes())
    value = np.hypot(truth["u"][1], truth["v"][1])[ROWS, COLUMNS]
    return UserObservations(
        lambda x: torch.hypot(x[:, u, ROWS, COLUMNS], x[:, v, ROWS, COLUMNS]),
        value,
        np.full(4, error),
    )


def speed_misfit(fields: Fields, checkpoint: Checkpoint) -> float:
    found = np.hypot(fields.upper["u"][1], fields.upper["v"][1])[ROWS, COLUMNS]
    return float(np.sqrt(((found - speeds(checkpoint).value) ** 2).mean()))


def test_rows_give_normalised_departures_and_their_adjoint() -> None:
    shape = (3, 4, 5)
    matrix = sparse.random(7, 60, 0.2, "csr", np.float32, random_state=0)
    innovation, error = np.arange(7.0), np.linspace(0.5, 2, 7)
    d = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = row_misfit(matrix, innovation, error, CPU)(d)
    dense = matrix.toarray() / error[:, None]
    np.testing.assert_allclose(
        found.detach(),
        d.detach().flatten(1).numpy() @ dense.T - innovation / error,
        rtol=1e-4,
        atol=1e-5,
    )
    (gradient,) = torch.autograd.grad(found[:, 3].sum(), d)
    np.testing.assert_allclose(gradient.flatten(1), np.tile(dense[3], (2, 1)), rtol=1e-5)


def test_the_analysis_fits_the_observations(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    result = run(background, table, checkpoint, keep_members=True)
    assert result.status == "ok"
    assert len(result.members) == 6
    used = (result.feedback.table["qc"] == QC.PASS).to_numpy()
    for name in ("msl", "t", "u", "v"):
        rows = used & (result.feedback.table["variable"] == name).to_numpy()
        value = result.feedback.table["value"].to_numpy()[rows]
        before, after = (
            (value - h[rows]) ** 2 for h in (result.feedback.hofx0, result.feedback.hofx1)
        )
        assert after.mean() < before.mean() * (
            0.3 if name == "msl" else 1.0
        )  # the first guess of the wind is good
    again = run(background, table, checkpoint)
    np.testing.assert_array_equal(again.fields.upper["t"], result.fields.upper["t"])


def test_dps_moves_towards_the_observations_too(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    settings = AnalysisSettings.model_validate(
        GUIDANCE.model_dump() | {"guidance": {"rule": "dps", "zeta": 0.1}}
    )
    result = run(background, table, checkpoint, settings)
    rows = (
        (result.feedback.table["qc"] == QC.PASS) & (result.feedback.table["variable"] == "msl")
    ).to_numpy()
    value = result.feedback.table["value"].to_numpy()[rows]
    assert ((value - result.feedback.hofx1[rows]) ** 2).mean() < 0.9 * (
        (value - result.feedback.hofx0[rows]) ** 2
    ).mean()


def test_the_encoder_is_told_nothing(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    """Observations of huge error change nothing, whatever they say: no other way leads into the
    analysis."""
    vague = table.assign(error=table["error"] * 1e6)
    one, other = (
        run(background, t, checkpoint).increment
        for t in (vague, vague.assign(value=vague["value"] * 1.01))
    )
    sharp = run(background, table, checkpoint).increment
    np.testing.assert_allclose(one.upper["u"], other.upper["u"], atol=1e-3)
    assert np.abs(sharp.upper["u"] - one.upper["u"]).max() > 0.5


@pytest.mark.parametrize("method", ["phyda", "guidance"])
def test_the_checkpoints_own_sampler_does_not_matter(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint, method: str
) -> None:
    """Guidance starts from noise at levels of its own, also where the checkpoint starts from stage
    1's draws."""
    settings, extra = GUIDANCE.model_copy(update={"method": method}), [speeds(checkpoint)]
    assert checkpoint.metadata.sampler.start == "linear"
    noisy = checkpoint.metadata.sampler.model_copy(
        update={"start": "noise", "steps": 5, "sigma_max": 4.0}
    )
    other = replace(checkpoint, metadata=checkpoint.metadata.model_copy(update={"sampler": noisy}))
    one, two = (
        run(background, table, c, settings, extra=extra).fields for c in (checkpoint, other)
    )
    np.testing.assert_array_equal(one.upper["u"], two.upper["u"])


@pytest.mark.parametrize(("physics", "most"), [("train", 0.5), ("project", 0.8)])
@pytest.mark.parametrize("method", ["phyda", "guidance"])
def test_an_operator_of_the_users_own(
    on_model_grid: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    method: str,
    physics: str,
    most: float,
) -> None:
    """The projection comes last and its metric is stage 1's, which does not know the operator: it
    costs some of the fit."""
    settings = GUIDANCE.model_copy(update={"method": method, "physics": physics, "members": 16})
    few = table.assign(
        qc=np.where(table["variable"] == "msl", table["qc"], QC.PASSIVE).astype(np.int16)
    )
    without = run(on_model_grid, few, checkpoint, settings)
    result = run(on_model_grid, few, checkpoint, settings, extra=[speeds(checkpoint)])
    assert speed_misfit(result.fields, checkpoint) < most * speed_misfit(without.fields, checkpoint)
    assert (
        result.spread.upper["u"][1][ROWS, COLUMNS].mean()
        < without.spread.upper["u"][1][ROWS, COLUMNS].mean()
    )
    alone = run(
        on_model_grid,
        table.assign(qc=np.int16(QC.BOUNDS)),
        checkpoint,
        settings,
        extra=[speeds(checkpoint)],
    )
    assert alone.status == "ok"
    assert speed_misfit(alone.fields, checkpoint) < most * speed_misfit(on_model_grid, checkpoint)


def test_operators_need_a_method_that_can_use_them(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    extra = [speeds(checkpoint)]
    with pytest.raises(UsageError, match="method oi cannot use operators") as caught:
        run(background, table, checkpoint, AnalysisSettings(method="oi", device="cpu"), extra=extra)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="at least 2 members"):
        run(background, table, checkpoint, AnalysisSettings(members=1, device="cpu"), extra=extra)


def test_operators_that_cannot_work_are_said_to() -> None:
    state, unit = torch.zeros(3, 4, 5), torch.ones(3, 1, 1)
    d = torch.zeros(2, 3, 4, 5, requires_grad=True)
    whole = UserObservations(lambda x: x.flatten(1)[:, :2].sum(), np.zeros(2), np.ones(2))
    with pytest.raises(UsageError, match=r"returns \(\), expected \(2, 2\)"):
        user_misfit(whole, state, unit)(d)
    numpy = UserObservations(
        lambda x: torch.from_numpy(x.detach().numpy()[:, 0, 0, :2]), np.zeros(2), np.ones(2)
    )
    with pytest.raises(UsageError, match="not differentiable"):
        user_misfit(numpy, state, unit)(d)


def test_no_usable_observation(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    nothing = table.assign(qc=np.int16(QC.BOUNDS))
    with pytest.raises(NoObservationsError):
        run(background, nothing, checkpoint)
    allowed = run(background, nothing, checkpoint, allow_none=True)
    assert allowed.status == "background_only"
    assert all(not v.any() for v in allowed.increment.upper.values())

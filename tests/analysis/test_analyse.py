"""The engine on arrays: methods, what is passed through, accounts and gates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import GRID, LEVELS, TIME, amplitudes, fields_at

from phyda_cli.analysis.analyse import Analysis, analyse, estimate, pose
from phyda_cli.analysis.generative import of_unit_variance
from phyda_cli.analysis.prior import choose_device
from phyda_cli.errors import NoObservationsError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import AnalysisSettings

OI = AnalysisSettings(method="oi", device="cpu")
PHYDA = AnalysisSettings(method="phyda", members=6, device="cpu")


def run(
    background: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    settings: AnalysisSettings = OI,
    **options: bool,
) -> Analysis:
    return analyse(pose(background, table, checkpoint, settings), **options)


def on_model_grid() -> Fields:
    fields = fields_at(amplitudes(24))
    upper = {k: v.astype(np.float32) for k, v in fields.items() if k != "msl"}
    return Fields(
        GRID, TIME, np.array(LEVELS) * 100.0, upper, {"msl": fields["msl"].astype(np.float32)}
    )


def test_increment_is_the_difference(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    result = run(background, table, checkpoint)
    assert result.status == "ok"
    for name in ("z", "t", "u", "v", "q"):
        np.testing.assert_allclose(
            result.fields.upper[name],
            background.upper[name] + result.increment.upper[name],
            rtol=1e-12,
        )
        assert (result.spread.upper[name] >= 0).all()
    assert set(result.increment.surface) == {"msl"}
    np.testing.assert_array_equal(
        result.fields.surface["orography"], background.surface["orography"]
    )
    unit = checkpoint.state.background_std[checkpoint.state.channels.index("msl")]
    assert result.spread.surface["msl"].mean() < 0.8 * unit


def test_without_the_correction_it_is_stage_1(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    settings = PHYDA.model_copy(update={"correction_weight": 0.0})
    found = estimate(pose(background, table, checkpoint, settings)).increment
    assert found.virtual is not None
    stage1 = found.virtual.increment.numpy()
    np.testing.assert_allclose(found.mean, stage1, atol=1e-5)
    drawn = found.virtual.perturbations.numpy()
    ours = (found.members[::2] - stage1) * (drawn**2).sum() ** 0.5
    np.testing.assert_allclose(  # the same draws, each channel scaled to stage 1's spread
        (ours * drawn).sum(axis=(0, 2, 3)) ** 2,
        (ours**2).sum(axis=(0, 2, 3)) * (drawn**2).sum(axis=(0, 2, 3)),
        rtol=1e-3,
    )


def test_departures_shrink_and_are_those_of_the_fields(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    problem = pose(background, table, checkpoint, OI)
    result, operator = analyse(problem), problem.departures.operator
    used = (result.feedback.table["qc"] == QC.PASS).to_numpy()
    np.testing.assert_allclose(
        result.feedback.hofx0[used], operator.apply(np.nan_to_num(background.vector()))[used]
    )
    np.testing.assert_allclose(
        result.feedback.hofx1[used], operator.apply(np.nan_to_num(result.fields.vector()))[used]
    )
    for name in ("msl", "t", "u", "v"):
        rows = used & (result.feedback.table["variable"] == name).to_numpy()
        value = result.feedback.table["value"].to_numpy()[rows]
        assert ((value - result.feedback.hofx1[rows]) ** 2).mean() < (
            (value - result.feedback.hofx0[rows]) ** 2
        ).mean()
    assert (result.feedback.sigma_b[used] > 0).all()


def test_the_method_phyda_samples_around_its_mean(
    table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    """On the model's own grid, where nothing is interpolated, mean and spread are those of the
    members exactly, but for humidity."""
    background = on_model_grid()
    result = run(
        background,
        table,
        checkpoint,
        PHYDA.model_copy(update={"physics": "train"}),
        keep_members=True,
    )
    assert len(result.members) == 6
    members = np.stack([m.upper["t"] for m in result.members])
    np.testing.assert_allclose(members.mean(0), result.fields.upper["t"], atol=2e-4)
    np.testing.assert_allclose(members.std(0), result.spread.upper["t"], rtol=2e-3, atol=2e-4)
    linear = run(background, table, checkpoint, OI.model_copy(update={"physics": "train"}))
    apart = np.sqrt(np.mean((result.increment.upper["t"] - linear.increment.upper["t"]) ** 2))
    assert 0 < apart < 0.6 * np.sqrt(np.mean(linear.increment.upper["t"] ** 2))


def test_one_member_takes_the_spread_of_the_encoder(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    result = run(background, table, checkpoint, PHYDA.model_copy(update={"members": 1}))
    assert np.isfinite(result.spread.upper["t"]).all()
    assert result.spread.surface["msl"].max() > 10


def test_members_have_unit_variance_over_the_area() -> None:
    """Whatever the sampler made of a channel, up to a factor of two; zero stays zero, and opposite
    pairs opposite."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((6, 4, 8, 5)) * np.array([0.8, 1.3, 0.01, 0.0])[:, None, None]
    residual = torch.from_numpy(np.concatenate([made, -made]))
    area = np.cos(np.deg2rad(np.linspace(-80, 80, 8)))[:, None] * np.ones((1, 5))
    scaled = of_unit_variance(residual, area)
    square = (scaled.square() * torch.from_numpy(area / area.mean())).mean(dim=(0, 2, 3))
    torch.testing.assert_close(square[:2], torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(scaled[:, 2], 2 * residual[:, 2])
    assert not scaled[:, 3].any()
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros_like(scaled[0]))


def test_passive_and_rejected_rows_change_nothing(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    whole = run(background, table, checkpoint)
    extra = table.copy()
    extra["value"] += np.where(extra["variable"] == "msl", 400.0, 3.0)
    extra["qc"] = np.where(np.arange(len(extra)) % 2 == 0, QC.PASSIVE, QC.DUPLICATE).astype(
        np.int16
    )
    both = run(background, pd.concat([table, extra], ignore_index=True), checkpoint)
    np.testing.assert_allclose(both.increment.upper["t"], whole.increment.upper["t"], atol=1e-9)
    passive = (both.feedback.table["qc"] == QC.PASSIVE).to_numpy()
    assert np.isfinite(both.feedback.hofx1[passive]).all()


def test_gross_errors_are_left_out(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    table = table.copy()
    table.loc[5, "value"] += 60.0
    result = run(background, table, checkpoint)
    assert result.feedback.table["qc"][5] == QC.FIRST_GUESS
    assert (result.feedback.table["qc"] == QC.FIRST_GUESS).sum() < 5


def test_the_scale_multiplies_the_background_error(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    """With a small one the analysis stays at the background, with a large one it fits; sigma_b in
    the feedback follows."""
    results = [
        run(background, table, checkpoint, OI.model_copy(update={"background_error_scale": s}))
        for s in (0.25, 1.0, 4.0)
    ]
    used = (results[0].feedback.table["qc"] == QC.PASS).to_numpy()
    np.testing.assert_allclose(
        results[2].feedback.sigma_b[used], 16 * results[0].feedback.sigma_b[used], rtol=1e-5
    )
    misfit = [
        np.mean(((f.table["value"] - f.hofx1) / f.table["error"])[used] ** 2)
        for f in (r.feedback for r in results)
    ]
    assert misfit[0] > misfit[1] > misfit[2]


def test_a_fixed_scale_is_the_members_times_it(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    """Normalising by the scaled deviation is the same linear analysis as scaling the members."""
    scaled = OI.model_copy(update={"background_error_scale": 2.0})
    state = checkpoint.state.model_copy(
        update={"background_std": tuple(2 * s for s in checkpoint.state.background_std)}
    )
    doubled = Checkpoint(checkpoint.path, checkpoint.metadata.model_copy(update={"state": state}))
    ours = run(background, table, checkpoint, scaled)
    theirs = run(background, table, doubled, OI.model_copy(update={"background_error_scale": 1.0}))
    for name in ("t", "u", "z"):
        np.testing.assert_allclose(
            ours.increment.upper[name], theirs.increment.upper[name], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(ours.spread.upper[name], theirs.spread.upper[name], rtol=1e-4)


def test_the_scale_is_found(table: pd.DataFrame, checkpoint: Checkpoint) -> None:
    """Errors three times as large make the scale three times as large, and are not taken for gross
    ones."""
    background = on_model_grid()
    departures = pose(background, table, checkpoint, OI).departures
    innovation = table["value"].to_numpy() - departures.hofx0
    error, sigma_b = (
        table["error"].to_numpy(),
        departures.sigma_b / departures.scale.of(list(table["variable"])),
    )
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(len(table))
    scales = []
    for factor in (0.7, 2.1):
        wrong = table.assign(
            value=table["value"] - innovation + drawn * np.hypot(error, factor * sigma_b)
        )
        scales.append(pose(background, wrong, checkpoint, OI).departures)
        assert (scales[-1].table["qc"] == QC.PASS).mean() > 0.97
    assert scales[1].scale.pooled / scales[0].scale.pooled == pytest.approx(3.0, rel=0.25)


def test_a_scale_below_one_rejects_no_more(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    codes = [
        pose(
            background, table, checkpoint, OI.model_copy(update={"background_error_scale": s})
        ).departures.table["qc"]
        for s in (0.3, 1.0)
    ]
    assert (codes[0] == codes[1]).all()


def test_no_usable_observation(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    nothing = table.assign(qc=np.int16(QC.BOUNDS))
    for settings in (OI, PHYDA):
        with pytest.raises(NoObservationsError) as caught:
            run(background, nothing, checkpoint, settings)
        assert caught.value.exit_code == 4
        allowed = run(background, nothing, checkpoint, settings, allow_none=True)
        assert allowed.status == "background_only"
        assert all(not v.any() for v in allowed.increment.upper.values())
    assert (
        run(background, table, checkpoint, OI.model_copy(update={"method": "none"})).status
        == "background_only"
    )


def test_humidity_stays_positive(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    upper = dict(background.upper) | {"q": np.minimum(background.upper["q"], 1e-5)}
    upper["q"][0, 0, 0] = -1e-8
    result = run(replace(background, upper=upper), table, checkpoint)
    assert result.fields.upper["q"].min() >= -1.0001e-8
    assert (result.fields.upper["q"][1:] >= 0).all()


def test_values_the_model_does_not_have_pass_through(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    surface = dict(background.surface) | {"t2m": np.full(background.grid.shape, 280.0)}
    result = run(replace(background, surface=surface), table, checkpoint)
    assert result.fields.surface["t2m"] is surface["t2m"]
    assert "t2m" not in result.increment.surface


def test_a_longitude_shift_of_everything_shifts_the_analysis(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    """Observations named in -180..180 instead of 0..360."""
    west = table.assign(longitude=(table["longitude"] + 180) % 360 - 180)
    ours, theirs = (run(background, t, checkpoint).increment.upper["u"] for t in (table, west))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(UsageError, match="no usable CUDA device"):
            choose_device("cuda")

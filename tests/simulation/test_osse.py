"""The observing-system simulation experiment: exact ends, pairs of networks, error bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from phyda_cli.analysis.assimilate import Request
from phyda_cli.errors import InputError, NoObservationsError
from phyda_cli.formats.by_time import FieldsByTime
from phyda_cli.observations.table import make
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.simulation.network_file import ObservingNetwork
from phyda_cli.simulation.osse import Experiment, Outcome, run_osse
from phyda_cli.simulation.osse_scores import BASELINE, NETWORK, Gains, gains_of, scores_of
from phyda_cli.simulation.osse_summary import as_json, headline, table_of
from phyda_cli.verification.sums import COLUMNS, Key, Sums

Make = Callable[..., Experiment]
DATES = 10
STD = synthetic.BACKGROUND_STD


def dense(errors: float, every: int = 1, **columns: float) -> ObservingNetwork:
    """Reports of all channels at points of the grid, with ``errors`` in background errors."""
    lat, lon = (m[1:-1, ::every].ravel() for m in synthetic.GRID.mesh)
    names = [(c.rstrip("0123456789"), c.lstrip("ztuvqmsl")) for c in synthetic.CHANNELS]
    size = lat.size
    table = {
        "station_id": np.tile([f"P{i}" for i in range(size)], len(names)),
        "latitude": np.tile(lat, len(names)),
        "longitude": np.tile(lon, len(names)),
        "variable": np.repeat([n for n, _ in names], size),
        "pressure": np.repeat([float(p) * 100 if p else np.nan for _, p in names], size),
        "error": np.repeat([errors * STD[n] for n, _ in names], size),
    } | columns
    rows = make(**table, time=np.datetime64("NaT", "ns"), value=0.0)
    return ObservingNetwork(Path(f"dense{every}.csv"), rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``truth.nc`` of ten dates two days apart, and ``fc.nc``, the states of a day before each."""
    folder = tmp_path_factory.mktemp("osse")
    times, waves = synthetic.history()
    at = 100 + 8 * np.arange(DATES)
    synthetic.dataset(waves[at], times[at]).to_netcdf(folder / "truth.nc")
    synthetic.dataset(waves[at - 4], times[at]).to_netcdf(folder / "fc.nc")
    return folder


@pytest.fixture(scope="module")
def experiment(files: Path, tiny_checkpoint: Path) -> Make:
    """The experiment with a network and perhaps a baseline, by the linear method."""

    def make_one(
        network: ObservingNetwork, baseline: ObservingNetwork | None = None, repeats: int = 1
    ) -> Experiment:
        networks = {NETWORK: network} | ({BASELINE: baseline} if baseline else {})
        # The waves' humidity is beyond saturation here and there.
        settings = AnalysisSettings.model_validate(
            {
                "method": "oi",
                "fine": {"stage": "off"},
                "background_error_scale": 1.0,
                "physics": "off",
            }
        )
        return Experiment(
            truths=FieldsByTime("truth", [files / "truth.nc"]),
            backgrounds=FieldsByTime("background", [files / "fc.nc"]),
            networks=networks,
            request=Request(obs=[], background=None, out=None, checkpoint=tiny_checkpoint),
            settings=settings,
            repeats=repeats,
        )

    return make_one


@pytest.fixture(scope="module")
def found(experiment: Make) -> tuple[Experiment, Outcome, Gains]:
    """What a network and a poorer one give."""
    asked = experiment(dense(0.5, 2), dense(0.5, 4))
    outcome = run_osse(asked)
    return asked, outcome, gains_of(outcome)


def only(experiment: Experiment, count: int) -> Experiment:
    """The same with the first ``count`` dates."""
    truths = FieldsByTime("truth", experiment.truths.files)
    truths.times = dict(list(truths.times.items())[:count])
    return replace(experiment, truths=truths)


def test_a_perfect_dense_network_leaves_next_to_no_error(experiment: Make) -> None:
    gains = gains_of(run_osse(only(experiment(dense(1e-3)), 1)))
    assert gains.ratio.value < 0.1


def test_reports_that_say_nothing_leave_the_background(experiment: Make) -> None:
    gains = gains_of(run_osse(only(experiment(dense(1e4)), 1)))
    assert gains.ratio.value == pytest.approx(1, abs=1e-4)


def test_a_network_against_itself_is_the_same(experiment: Make) -> None:
    gains = gains_of(run_osse(only(experiment(dense(1.0, 4), dense(1.0, 4)), 1)))
    assert all(f.to_baseline is not None for f in gains.fields)
    assert {f.to_baseline.value for f in gains.fields if f.to_baseline} == {1.0}


def test_more_stations_give_more(found: tuple[Experiment, Outcome, Gains]) -> None:
    _, outcome, gains = found
    assert gains.to_baseline is not None
    assert gains.baseline_ratio is not None
    assert gains.to_baseline.high is not None
    assert gains.to_baseline.low is not None
    assert gains.to_baseline.low < gains.to_baseline.value < gains.to_baseline.high < 1
    assert gains.ratio.value < gains.baseline_ratio.value < 1
    assert len(outcome.dates) == DATES
    assert outcome.counts[NETWORK] == [len(dense(1, 2).rows)] * DATES


def test_numbers_agree_in_all_outputs(found: tuple[Experiment, Outcome, Gains]) -> None:
    asked, outcome, gains = found
    rows = [r for r in scores_of(outcome, gains) if r.region == "all"]
    one = next(f for f in gains.fields if f.name == "t500")
    of = {
        (r.state, r.score): r
        for r in rows
        if (r.variable, r.level) == ("t", "500") and r.score in ("rmse", "ratio")
    }
    assert of["network", "rmse"].value == pytest.approx(one.network)
    assert of["baseline", "rmse"].value == pytest.approx(one.baseline)
    assert of["background", "rmse"].value == pytest.approx(one.background)
    ratio = of["network", "ratio"]
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx(
        (one.ratio.value, one.ratio.low, one.ratio.high)
    )
    assert one.ratio.value == pytest.approx(one.network / one.background)
    assert as_json(asked, outcome, gains)["ratio"]["value"] == gains.ratio.value
    assert len(table_of(gains).rows) == len(gains.fields) + 1
    assert any(
        f"{100 * (1 - gains.ratio.value):.1f} %" in x for x in headline(asked, outcome, gains)
    )


def made_up(above: np.ndarray, dates: np.ndarray, repeats: int = 1) -> Outcome:
    """Squared errors ``above`` (T,) of one field, 1 of the background, at ``dates`` (T,)."""
    key, sums = Key("fields", "t", "500", "all", "", "withheld"), Sums()
    for time, square in zip(dates, above, strict=True):
        values = {"count": 1, "weight": 1, "weight_b": 1, "a_squared": square, "b_squared": 1}
        row = np.array([values.get(name, 0.0) for name in COLUMNS], float)
        for _ in range(repeats):
            sums.add_row(key, row)
            sums.add_time(key, int(time.astype("datetime64[s]").astype(int)), row)
    return Outcome(dates=list(dates), sums={NETWORK: sums})


def days(count: int, hours: int) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + np.timedelta64(hours, "h") * np.arange(count)


def test_error_bars_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        squares = np.random.default_rng(seed).gamma(4, 0.25 / 4, 40)  # mean 1/4
        ratio = gains_of(made_up(squares, days(40, 120)), seed).ratio
        assert ratio.low is not None
        assert ratio.high is not None
        held += ratio.low < 0.5 < ratio.high
    assert 0.88 < held / 200 < 0.99


def test_repeats_do_not_count_as_dates() -> None:
    squares = np.random.default_rng(0).gamma(4, 0.1, 20)
    once, often = (gains_of(made_up(squares, days(20, 120), n)).ratio for n in (1, 5))
    assert (once.value, once.low, once.high) == pytest.approx((often.value, often.low, often.high))


def test_consecutive_dates_make_wider_bars() -> None:
    squares = np.repeat([0.1, 0.4, 0.1, 0.4, 0.1, 0.4, 0.1, 0.4], 8)  # weather of two days
    apart, close = (gains_of(made_up(squares, days(64, h))).ratio for h in (120, 6))
    assert close.low is not None
    assert close.high is not None
    assert apart.low is not None
    assert apart.high is not None
    assert close.high - close.low > 1.4 * (apart.high - apart.low)


def test_few_dates_have_no_error_bars() -> None:
    ratio = gains_of(made_up(np.full(9, 0.25), days(9, 120))).ratio
    assert (ratio.value, ratio.low, ratio.high) == (0.5, None, None)


def test_the_truth_as_background_has_nothing_to_gain(experiment: Make) -> None:
    asked = only(experiment(dense(1.0, 4)), 1)
    exact = replace(asked, backgrounds=FieldsByTime("background", asked.truths.files))
    with pytest.raises(InputError, match="the truth itself"):
        gains_of(run_osse(exact))


def test_without_a_background_it_is_the_truth_of_a_day_before(
    experiment: Make, nature: Path
) -> None:
    truths = FieldsByTime("truth", [nature / "analysis_0.nc"])
    asked = replace(experiment(dense(1.0, 4)), truths=truths, backgrounds=None)
    outcome = run_osse(only(asked, 5))
    assert outcome.dates == [np.datetime64("2010-12-02", "ns")]
    assert any("24 h before" in note for note in outcome.notes)
    assert gains_of(outcome).ratio.value < 1


def test_a_time_is_given_once(experiment: Make) -> None:
    [file] = experiment(dense(0.5, 4)).truths.files
    with pytest.raises(InputError, match="both hold the truth") as raised:
        FieldsByTime("truth", [file, file])
    assert raised.value.hint == "give each time once"
    assert len(FieldsByTime("truth", [file]).times) == DATES


def test_times_that_do_not_match_are_named(experiment: Make, nature: Path) -> None:
    asked = experiment(dense(1.0, 4))
    early, late = (
        only(replace(asked, truths=FieldsByTime("truth", [nature / f"analysis_{i}.nc"])), 5)
        for i in range(2)
    )
    with pytest.raises(InputError, match="no time of the background"):
        run_osse(early)
    outcome = run_osse(late)
    assert len(outcome.dates) == 1
    assert any("4 times of the truth" in note for note in outcome.notes)


def test_a_network_without_any_report_ends_it(experiment: Make) -> None:
    with pytest.raises(NoObservationsError):
        run_osse(only(experiment(dense(1.0, 4, elevation=5000.0, variable="sp")), 1))

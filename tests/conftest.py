"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: nothing here is big enough to share

with suppress(ImportError):
    import pyproj  # noqa: F401  MetPy's libproj has to be loaded before eccodes', or the process dies at exit

import synthetic

from phyda_cli.settings.training import TrainingSettings

# A busy machine may take its time.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside a checkout, or ``PHYDA_TEST_DATA``; skips where it is
    absent."""
    folder = Path(os.environ.get("PHYDA_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} does not exist (set PHYDA_TEST_DATA)")
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def phyda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run ``phyda ARGUMENTS`` in this process through ``main``, as a shell would see it."""
    from phyda_cli.app import main

    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["phyda", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def nature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 days of synthetic analyses every 6 h, in two files."""
    folder = tmp_path_factory.mktemp("nature")
    times, waves = synthetic.history()
    for i in range(2):
        half = slice(120 * i, 120 * (i + 1))
        synthetic.dataset(waves[half], times[half]).to_netcdf(folder / f"analysis_{i}.nc")
    return folder


@pytest.fixture(scope="session")
def store_path(nature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training store of one-day differences on the 16x8 grid."""
    from phyda_cli.preprocessing.preprocess import preprocess
    from phyda_cli.settings.data import PreprocessSettings

    out = tmp_path_factory.mktemp("store") / "train.zarr"
    preprocess(
        [nature],
        out,
        PreprocessSettings(grid="as-is", channels=synthetic.CHANNELS, pairs=("lagged",)),
    )
    return out


@pytest.fixture(scope="session")
def tiny_settings() -> TrainingSettings:
    """Training of some seconds."""
    return TrainingSettings.model_validate(
        {
            "members": 24,
            "samples": 64,
            "reports": (5, 60),
            "spread_epochs": 2,
            "encoder_epochs": 2,
            "encoder_physics": 0.3,
            "denoiser_epochs": 2,
            "batch": 8,
            "solver": {"radius_km": 8000, "column_stride": 1},
            "network": {"encoder": (8, 16), "denoiser": (8, 16), "spread": (8, 16)},
        }
    )


@pytest.fixture(scope="session")
def tiny_run(
    store_path: Path, tiny_settings: TrainingSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished tiny training run; its model is ``checkpoint`` in it."""
    import runs

    from phyda_cli.training.train import train

    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(runs.alone(run, tiny_settings), store_path)
    return run


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_run: Path) -> Path:
    """A small global model of z t u v q at 300, 500 and 850 hPa and msl."""
    return tiny_run / "checkpoint"


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``fc.nc``, the state of a day before, and ``stations.csv``, reports of
    ``synthetic.TIME``'s state."""
    folder = tmp_path_factory.mktemp("case")
    first_guess, truth = synthetic.amplitudes(24), synthetic.amplitudes()
    synthetic.dataset(
        first_guess[None], [synthetic.TIME], synthetic.FINE, synthetic.FINE_LEVELS
    ).to_netcdf(folder / "fc.nc")
    synthetic.reports(folder / "stations.csv", truth)
    return folder

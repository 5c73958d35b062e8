"""One small analysis problem, read from its files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.read.read import read_observations


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(scope="session")
def background(case: Path) -> Fields:
    """On a finer grid and more levels than the model's."""
    return read_background(case / "fc.nc").fields


@pytest.fixture
def table(case: Path, background: Fields) -> pd.DataFrame:
    """Prepared observations."""
    return prepare(read_observations([case / "stations.csv"]).table, background)

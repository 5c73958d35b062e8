"""Real observations read once for all tests that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult


@pytest.fixture(scope="session")
def soundings(shared_data: Path) -> ReadResult:
    """The radiosondes of 2008-12-08 12 UTC."""
    return read_observations([shared_data / "observations" / "temp_20081208T12.bufr"], strict=True)

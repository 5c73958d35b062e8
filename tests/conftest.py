"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):
    import pyproj  # noqa: F401  MetPy's libproj has to be loaded before eccodes', or the process dies at exit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside a checkout, or ``PHYDA_TEST_DATA``; skips where it is absent."""
    folder = Path(os.environ.get("PHYDA_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} does not exist (set PHYDA_TEST_DATA)")
    return folder

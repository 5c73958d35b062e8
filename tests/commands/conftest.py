"""``phyda assimilate`` on a small case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def assimilate(phyda: Run, case: Path, tiny_checkpoint: Path, tmp_path: Path) -> Run:
    """Run the command on the small case, into ``tmp_path / "an.nc"`` with the linear method, unless
    told otherwise; an option that is None is not given."""

    def run(*arguments: object, **options: object) -> Any:
        chosen = {
            "obs": case / "stations.csv",
            "background": case / "fc.nc",
            "out": tmp_path / "an.nc",
        }
        chosen |= {"checkpoint": tiny_checkpoint, "method": "oi"} | options
        flags = [
            part
            for name, value in chosen.items()
            if value is not None
            for part in (f"--{name}", value)
        ]
        return phyda("assimilate", *flags, *arguments)

    return run


@pytest.fixture
def fails(assimilate: Run, tmp_path: Path) -> Callable[..., str]:
    """The message of a run that must fail with ``code``, naming no Python, printing no result and
    leaving nothing behind."""

    def run(code: int, *arguments: object, **options: object) -> str:
        before = sorted(tmp_path.iterdir())
        outcome = assimilate(*arguments, **options)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert "FATAL ERROR: " in outcome.err
        assert "Traceback" not in outcome.err
        assert sorted(tmp_path.iterdir()) == before
        return str(outcome.err)

    return run

"""The record of what a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from phyda_cli.errors import InputError, UsageError
from phyda_cli.files.resume import claim


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    claim(tmp_path / "run", {"data": "a", "seed": 1})
    claim(tmp_path / "run", {"data": "a", "seed": 1})
    with pytest.raises(UsageError, match="seed"):
        claim(tmp_path / "run", {"data": "a", "seed": 2})


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff\xfe", b"[1]"])
def test_a_damaged_record_is_an_input_error(tmp_path: Path, damaged: bytes) -> None:
    claim(tmp_path, {"data": "a"})
    (tmp_path / "run.json").write_bytes(damaged)
    with pytest.raises(InputError, match=r"run\.json"):
        claim(tmp_path, {"data": "a"})

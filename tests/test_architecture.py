"""The page on architecture names files that exist and the layers that the tests hold."""

from __future__ import annotations

import re
from pathlib import Path

from test_layers import LAYERS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py|[a-z_/]+/)`", TEXT))
    assert len(named) > 15
    places = (ROOT / "phyda_cli", ROOT / "phyda_cli" / "analysis", ROOT)
    missing = [n for n in named if not any((place / n).exists() for place in places)]
    assert not missing


def test_its_picture_has_every_layer_in_order() -> None:
    picture = TEXT.partition("## ")[0]
    names = [n for row in LAYERS for n in row.split(" | ")]
    shown = [n for n in names if n not in ("__main__", "__init__", "libproj")]
    at = [picture.find(name, picture.index("app ·")) for name in shown]
    assert -1 not in at
    rows = [picture.count("\n", 0, place) for place in at]
    assert rows == sorted(rows)


def test_no_file_is_longer_than_500_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "phyda_cli").rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long

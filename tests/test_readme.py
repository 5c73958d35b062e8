"""The README is short, its links lead somewhere, and its Python runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from phyda_cli.app import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    lines = TEXT.splitlines()
    assert len(lines) <= 120
    assert max(len(line) for line in lines if not line.startswith("|")) <= 100


@pytest.mark.parametrize(
    "page", ["README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_its_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", text)
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_its_commands_exist() -> None:
    import typer

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    blocks = re.findall(r"^    phyda ([a-z]+) ", TEXT, re.M)
    table = re.findall(r"`phyda ([a-z]+)`", TEXT)
    named = {*blocks, *table}
    assert named
    assert named <= known


def test_its_python_runs(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = TEXT.partition("From Python:\n\n")[2].partition("\n\n|")[0]
    code = "\n".join(line.removeprefix("    ") for line in block.splitlines())
    for name in ("stations.csv", "fc.nc"):
        shutil.copy(case / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace('["t2m"]', '["msl"]'), "README.md", "exec"), {})
    assert (tmp_path / "analysis.nc").is_file()
    assert "verdict" in capsys.readouterr().out

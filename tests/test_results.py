"""The numbers that README, results and the model card show are those of ``docs/results.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path

from phyda_cli.model.checkpoint import BUNDLED

ROOT = Path(__file__).resolve().parents[1]
MEASUREMENTS = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))[
    "measurements"
]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


def recorded() -> set[float]:
    """Every value and bound, without its sign: a page says "lower" or writes a minus."""
    entries = (entry for m in MEASUREMENTS for entry in m["values"].values())
    return {abs(number) for entry in entries for number in entry.values()}


def shown(page: str, section: str = "") -> list[float]:
    """The numbers in the tables of a page, without their first column and their heads."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(section)[2]
    out: list[float] = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        for row in table.splitlines()[2:]:
            cells = " ".join(row.split("|")[2:])
            out += [abs(float(n)) for n in NUMBER.findall(cells.replace("–", " "))]
    return out


def test_results_show_what_is_recorded() -> None:
    numbers = shown("docs/explanation/results.md", "# Results")
    assert len(numbers) > 100
    assert set(numbers) <= recorded()


def test_the_readme_shows_what_is_recorded() -> None:
    numbers = shown("README.md", "## How good is it")
    assert len(numbers) == 4
    assert set(numbers) <= recorded()


def test_nothing_recorded_is_forgotten() -> None:
    text = (ROOT / "docs" / "explanation" / "results.md").read_text(encoding="utf-8")
    text += (ROOT / "docs" / "explanation" / "model_card.md").read_text(encoding="utf-8")
    pages = {abs(float(n)) for n in NUMBER.findall(text.replace("–", " "))}
    assert recorded() <= pages


def test_the_model_card_shows_the_scores_of_the_bundled_weights() -> None:
    [validation] = [m["values"] for m in MEASUREMENTS if m["id"] == "validation"]
    scores = json.loads((BUNDLED / "model.json").read_text(encoding="utf-8"))["training"]
    for name, entry in validation.items():
        assert round(scores["validation"][name], 4) == entry["value"]


def test_every_measurement_says_how_and_of_which_weights() -> None:
    assert len({m["id"] for m in MEASUREMENTS}) == len(MEASUREMENTS)
    for m in MEASUREMENTS:
        assert re.fullmatch(r"[0-9a-f]{7}", m["commit"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", m["measured"])
        assert m["what"]
        assert m["unit"]
        assert m["weights"]
        for module in re.findall(r"python -m (\S+?)(?:;|$| )", m["command"]):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()

"""``phyda model``: a checkpoint's facts and its card, the bundled one's as documented, and broken
checkpoints."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from synthetic import CHANNELS, GRID, LEVELS

from phyda_cli.model.checkpoint import BUNDLED

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The small checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def edited(folder: Path, **training: Any) -> Path:
    """``folder`` with another record of the training; a value of None takes an entry out."""
    path = folder / "model.json"
    metadata = json.loads(path.read_text())
    record = metadata["training"] | training
    path.write_text(
        json.dumps(metadata | {"training": {k: v for k, v in record.items() if v is not None}})
    )
    return folder


def test_facts_are_those_of_the_checkpoint(phyda: Run, tiny_checkpoint: Path) -> None:
    outcome = phyda("model", "inspect", tiny_checkpoint, "--json")
    assert outcome.code == 0, outcome.err
    facts, metadata = (
        json.loads(outcome.out),
        json.loads((tiny_checkpoint / "model.json").read_text()),
    )
    assert (facts["name"], facts["license"], facts["bundled"]) == ("tiny", "", False)
    assert facts["mean_error"] is None
    assert (
        facts["sha256"] == hashlib.sha256((tiny_checkpoint / "model.json").read_bytes()).hexdigest()
    )
    assert facts["channels"] == len(CHANNELS)
    assert {v["name"]: v["levels_hPa"] for v in facts["variables"]} == {
        name: list(LEVELS) for name in "ztuvq"
    } | {"msl": None}
    assert {v["name"]: v["units"] for v in facts["variables"]}["z"] == "m2 s-2"
    assert facts["grid"]["global"] is True
    assert (facts["grid"]["latitude"]["count"], facts["grid"]["longitude"]["count"]) == GRID.shape
    assert (facts["grid"]["longitude"]["first"], facts["grid"]["longitude"]["step"]) == (0.0, 22.5)
    assert facts["members"]["count"] == 24
    assert facts["members"]["first"] == min(metadata["member_times"])
    assert facts["background"]["complete"] == list(CHANNELS)
    assert facts["background"]["levels"].startswith("levels that reach from 300 to 850 hPa")
    assert facts["scores"] == metadata["training"]["validation"]
    assert set(facts["scores"]) >= {"oi", "encoder"}
    assert (facts["training"]["first"], facts["training"]["pairs_kind"]) == (
        metadata["training"]["first"],
        "lagged",
    )
    assert {name: f["sha256"] for name, f in facts["files"].items()} == metadata["files"]
    assert all(
        f["bytes"] == (tiny_checkpoint / name).stat().st_size for name, f in facts["files"].items()
    )
    with safe_open(str(tiny_checkpoint / "network.safetensors"), "numpy") as file:
        stored = sum(
            file.get_tensor(key).size
            for key in file.keys()  # noqa: SIM118
            if key not in ("encoder.calibration", "spread.climate")
        )
    assert sum(network["parameters"] for network in facts["networks"].values()) == stored


def test_tables_show_them(phyda: Run, tiny_checkpoint: Path) -> None:
    outcome = phyda("model", "inspect", tiny_checkpoint)
    assert outcome.code == 0
    for text in (
        "tiny",
        "16x8, global",
        "300 500 850",
        "surface",
        "not stated",
        "encoder",
        "lagged",
    ):
        assert text in outcome.out, text
    for digest in json.loads((tiny_checkpoint / "model.json").read_text())["files"].values():
        assert digest in outcome.out
    assert "not recorded in this checkpoint: source of the training data, licence" in outcome.err


def test_the_bundled_card_is_the_documented_one(phyda: Run, tmp_path: Path) -> None:
    written = phyda("model", "card", "--out", tmp_path / "card.md")
    assert written.code == 0
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert text == (ROOT / "docs" / "explanation" / "model_card.md").read_text(encoding="utf-8")
    assert phyda("model", "card", BUNDLED).out == text
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details",
        "Intended use",
        "Training data",
        "Evaluation",
        "Limitations",
        "How to use",
        "Licence",
    ]
    assert "not on the real atmosphere" in text
    assert "not recorded" not in text
    assert phyda("model", "card", "--out", tmp_path / "card.md").code == 2
    assert phyda("model", "card", "--out", tmp_path / "card.md", "--overwrite").code == 0


def test_data_of_others_are_attributed(phyda: Run, copy: Path) -> None:
    edited(
        copy,
        source="ERA5",
        data_license="terms of the provider",
        references="Hersbach et al. (2020)",
    )
    text = phyda("model", "card", copy).out
    for line in (
        "**Source**: ERA5",
        "**Licence of the data**: terms of the provider",
        "**References**: Hersbach et al. (2020)",
    ):
        assert f"- {line}\n" in text
    assert "Training data: terms of the provider." in text
    assert "--checkpoint CHECKPOINT" in text
    assert "not on the real atmosphere" not in text


def test_old_checkpoints_say_what_they_lack(phyda: Run, copy: Path) -> None:
    edited(
        copy,
        first=None,
        last=None,
        pairs=None,
        validation=None,
        hardware=None,
        settings=None,
        data_license=None,
    )
    facts = json.loads(phyda("model", "inspect", copy, "--json").out)
    assert facts["scores"] == {}
    assert {"start of the training data", "hardware", "validation scores"} <= set(
        facts["not_recorded"]
    )
    text = phyda("model", "card", copy).out
    assert "- **Span**: not recorded in the checkpoint\n" in text
    assert "Validation scores are not recorded in the checkpoint." in text
    assert "The checkpoint does not record: source of the training data, " in text


def truncated(folder: Path) -> None:
    path = folder / "statics.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no checkpoint at"),
    "a file changed": (truncated, "statics.safetensors"),
    "a file gone": (
        lambda folder: (folder / "members_00.safetensors").unlink(),
        "members_00.safetensors",
    ),
    "no JSON": (
        lambda folder: (folder / "model.json").write_text("{"),
        "model.json",
    ),
    "not ours": (
        lambda folder: (folder / "model.json").write_text('{"name": "x"}'),
        "model.json",
    ),
}


@pytest.mark.parametrize("command", ["inspect", "card"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_broken_checkpoints(
    phyda: Run, copy: Path, tmp_path: Path, damage: str, command: str
) -> None:
    harm, message = DAMAGE[damage]
    harm(copy)
    outcome = phyda(
        "model", command, copy, *(("--out", tmp_path / "card.md") if command == "card" else ())
    )
    assert (outcome.code, outcome.out) == (3, "")
    told = outcome.err.strip().splitlines()
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert (
        told[-1]
        .split("Z ", 1)[-1]
        .strip()
        .endswith(("bundled one", "copy the whole checkpoint again"))
    )
    assert not (tmp_path / "card.md").exists()


@pytest.mark.parametrize("widths", [[-1], [0], [12], [8, 2**40], []])
def test_widths_that_no_network_has(phyda: Run, copy: Path, widths: list[int]) -> None:
    text = json.loads((copy / "model.json").read_text())
    text["network"]["encoder"] = widths
    (copy / "model.json").write_text(json.dumps(text))
    assert phyda("model", "inspect", copy).code == 3


def test_control_characters_do_not_reach_the_card(phyda: Run, copy: Path) -> None:
    text = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(text | {"name": "\x1b[31m", "license": "\x07"}))
    shown = phyda("model", "card", copy).out
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown + phyda("model", "inspect", copy).out

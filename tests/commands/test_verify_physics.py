"""``phyda verify --physics`` on the bundled case."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from phyda_cli.errors import EXIT_INPUT, EXIT_USAGE
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.write import write_analysis, write_fields
from phyda_cli.model.checkpoint import BUNDLED

DEMO = Path(__file__).resolve().parents[2] / "phyda_cli" / "demo"
TRUTH = DEMO / "truth.nc"
Run = Callable[..., Any]


def between(background: Background, truth: Fields, part: float) -> Fields:
    """The background moved ``part`` of the way to the truth, in z t u v q."""
    upper = {
        v: (1 - part) * background.fields.upper[v].astype(float) + part * truth.upper[v]
        for v in "ztuvq"
    }
    return replace(background.fields, upper=upper, surface={})


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysis half way to the truth, with two members around it."""
    background, truth = read_background(DEMO / "background.nc"), read_background(TRUTH).fields
    half = between(background, truth, 0.5)
    increment = replace(
        half, upper={v: half.upper[v] - background.fields.upper[v] for v in "ztuvq"}
    )
    path = tmp_path_factory.mktemp("physics") / "an.nc"
    write_analysis(
        path,
        background,
        half,
        increment,
        members=[between(background, truth, part) for part in (0.25, 0.75)],
    )
    return path


def physics(outcome: Any) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)["physics"]  # type: ignore[no-any-return]


def everywhere(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        s["equation"]: s for s in found["equations"] if s["level"] is None and s["band"] is None
    }


def test_half_way_to_the_truth_has_half_the_excess(phyda: Run, analysis: Path) -> None:
    """Exactly so where the equation is linear in the state."""
    found = physics(phyda("verify", analysis, "--truth", TRUTH, "--physics", "--json"))
    assert found["reference"] == "truth"
    assert found["grid"] == {"latitudes": 48, "longitudes": 96}
    scores = everywhere(found)
    assert len(scores) == 9
    for name in ("mass", "geostrophic_u", "geostrophic_v"):
        assert scores[name]["excess"] == pytest.approx(0.5, abs=1e-4), name
        assert scores[name]["members_excess"] == pytest.approx(0.5, abs=1e-4), name
    assert scores["hydrostatic"]["excess"] == pytest.approx(
        0.5, abs=2e-3
    )  # but for the product of q and t
    for s in scores.values():
        assert s["excess"] < 0.6
        assert s["ratio"] == pytest.approx(s["analysis"] / s["truth"])
        assert s["background_ratio"] == pytest.approx(s["background"] / s["truth"])
    assert {s["level"] for s in found["equations"] if s["equation"] == "hydrostatic"} >= {
        None,
        "50-100",
        "850-925",
    }
    assert {s["band"] for s in found["equations"] if s["equation"] == "gradient"} == {
        None,
        "90S-60S",
        "60S-20S",
        "20N-60N",
        "60N-90N",
    }


def test_a_truth_judged_by_itself(phyda: Run) -> None:
    scores = everywhere(
        physics(
            phyda(
                "verify",
                TRUTH,
                "--truth",
                TRUTH,
                "--background",
                DEMO / "background.nc",
                "--physics",
                "--json",
            )
        )
    )
    assert all((s["ratio"], s["excess"]) == (1.0, 0.0) for s in scores.values())


def test_without_truth_the_background_is_the_measure(phyda: Run, analysis: Path) -> None:
    found = physics(phyda("verify", analysis, "--physics", "--json"))
    assert found["reference"] == "background"
    for s in everywhere(found).values():
        assert s["ratio"] == pytest.approx(s["analysis"] / s["background"])
        assert (s["truth"], s["excess"]) == (None, None)


def test_a_forecast_alone_has_no_ratio(phyda: Run) -> None:
    outcome = phyda("verify", TRUTH, "--physics")
    assert outcome.code == 0
    assert "ratio" not in outcome.out
    assert "hydrostatic m2 s-2" in " ".join(outcome.out.split())


def test_tables_beside_the_others(phyda: Run, analysis: Path, tmp_path: Path) -> None:
    outcome = phyda(
        "verify",
        analysis,
        "--truth",
        TRUTH,
        "--physics",
        "--obs",
        DEMO / "stations.csv",
        "--plot",
        tmp_path / "a.png",
        "--physics-plot",
        tmp_path / "b.png",
    )
    assert outcome.code == 0, outcome.err
    words = " ".join(outcome.out.split())
    for expected in (
        "an.nc against truth.nc",
        "observations compared",
        "physics of an.nc: rms of residuals, ratio to the truth",
        "thermodynamic K h-1",
    ):
        assert expected in words
    assert len(outcome.out.splitlines()) <= 40
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "points below ground (z and orography of the analysis) are left out" in outcome.err
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_a_picture_implies_physics_and_is_not_replaced(
    phyda: Run, analysis: Path, tmp_path: Path
) -> None:
    path = tmp_path / "b.png"
    assert physics(phyda("verify", analysis, "--physics-plot", path, "--json"))["equations"]
    before = path.read_bytes()
    refused = phyda("verify", analysis, "--physics-plot", path)
    assert refused.code == EXIT_USAGE
    assert "exists already" in refused.err
    assert path.read_bytes() == before
    assert phyda("verify", analysis, "--physics-plot", path, "--overwrite").code == 0


@pytest.mark.parametrize("names", [("same.png", "same.png"), ("a.png", "an.nc")])
def test_pictures_replace_neither_each_other_nor_an_input(
    phyda: Run, analysis: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    plot, picture = (tmp_path / n if n.endswith(".png") else analysis for n in names)
    before = analysis.read_bytes()
    outcome = phyda("verify", analysis, "--plot", plot, "--physics-plot", picture, "--overwrite")
    assert outcome.code == EXIT_USAGE
    assert "would replace an input or another output" in outcome.err
    assert not list(tmp_path.iterdir())
    assert analysis.read_bytes() == before


def test_missing_variables_are_noted(phyda: Run, tmp_path: Path) -> None:
    truth = read_background(TRUTH).fields
    write_fields(tmp_path / "dry.nc", synthetic.select(truth, ["z", "t", "u", "v"]))
    outcome = phyda("verify", tmp_path / "dry.nc", "--physics", "--json")
    assert "moisture" not in everywhere(physics(outcome))
    assert "q is missing in the analysis" in outcome.err


def test_no_common_level(phyda: Run, tmp_path: Path) -> None:
    truth = read_background(TRUTH).fields
    for k, name in ((4, "one.nc"), (6, "other.nc")):
        part = replace(
            truth, levels=truth.levels[[k]], upper={v: f[[k]] for v, f in truth.upper.items()}
        )
        write_fields(tmp_path / name, part)
    outcome = phyda(
        "verify", tmp_path / "one.nc", "--background", tmp_path / "other.nc", "--physics"
    )
    assert outcome.code == EXIT_INPUT
    assert "no pressure level is common" in outcome.err
    assert "the analysis has z at 500 hPa" in outcome.err
    assert "the background has z at 850 hPa" in outcome.err
    alone = phyda("verify", tmp_path / "one.nc", "--physics", "--json")
    assert set(everywhere(physics(alone))) >= {"momentum_u", "gradient"}
    assert "one level only" in alone.err


def test_only_surface_fields(phyda: Run, tmp_path: Path) -> None:
    write_fields(tmp_path / "msl.nc", synthetic.select(read_background(TRUTH).fields, ["msl"]))
    outcome = phyda("verify", tmp_path / "msl.nc", "--physics")
    assert outcome.code == EXIT_INPUT
    assert "has none of z, t, u, v, q" in outcome.err


@pytest.mark.skipif(not (BUNDLED / "model.json").is_file(), reason="no bundled checkpoint")
def test_members_of_the_bundled_model(phyda: Run, tmp_path: Path) -> None:
    """Each member holds more small scales than their mean; none has negative humidity."""
    made = phyda(
        "assimilate",
        "--obs",
        DEMO / "stations.csv",
        "--background",
        DEMO / "background.nc",
        "--out",
        tmp_path / "an.nc",
        "--members",
        2,
        "--save-members",
    )
    assert made.code == 0, made.err
    found = physics(phyda("verify", tmp_path / "an.nc", "--truth", TRUTH, "--physics", "--json"))
    for name, s in everywhere(found).items():
        assert 0.8 < s["ratio"] < 1.3, name
        assert s["members_excess"] > s["excess"], name
    (negative,) = [
        s
        for s in found["violations"]
        if s["kind"] == "negative_q" and s["level"] is None and s["band"] is None
    ]
    assert (negative["analysis_count"], negative["members"]) == (0, 0.0)
    assert np.isfinite([s["members"] for s in found["violations"]]).all()

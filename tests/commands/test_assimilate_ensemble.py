"""``phyda assimilate`` with the user's own ensemble: letkf, hybrid, and phyda on top."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, GRID, LEVELS, TIME, WAVES, amplitudes, dataset, fields_at

from phyda_cli.errors import UsageError
from phyda_cli.formats.background import read_background

Run = Callable[..., Any]
SIZE = 20


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``m00.nc`` … and all of them in ``all.nc``: the state of a day before plus waves of about its
    error, on the finer grid."""
    folder = tmp_path_factory.mktemp("ensemble")
    rng = np.random.default_rng(3)
    drawn = amplitudes(24) + 0.4 * rng.standard_normal((SIZE, len(WAVES), 2))
    parts = [dataset(a[None], [TIME], FINE, FINE_LEVELS) for a in drawn]
    for i, part in enumerate(parts):
        part.to_netcdf(folder / f"m{i:02d}.nc")
    xr.concat(parts, xr.Variable("number", np.arange(SIZE, dtype=np.int32))).to_netcdf(
        folder / "all.nc"
    )
    return folder


def error(path: Path, name: str) -> float:
    truth = fields_at(amplitudes(), FINE, FINE_LEVELS)[name]
    fields = read_background(path).fields
    found = {**fields.upper, **fields.surface}[name]
    return float(np.sqrt((FINE.area_weights[:, None] * (found - truth) ** 2).mean()))


def values(path: Path) -> dict[str, np.ndarray]:
    with xr.open_dataset(path, decode_times=False) as data:
        return {str(n): v.values for n, v in data.variables.items()}


def mean_of(members: Path, name: str) -> np.ndarray:
    return np.mean(
        [values(p)[name] for p in sorted(members.glob("m*.nc"))], axis=0, dtype=np.float64
    )


@pytest.mark.parametrize("method", ["letkf", "hybrid", "phyda"])
def test_every_method_corrects_the_mean(
    assimilate: Run, members: Path, tmp_path: Path, method: str
) -> None:
    outcome = assimilate(
        "--json", "--members", 4, method=method, background=None, ensemble=f"{members}/m*.nc"
    )
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["ensemble_members"] == SIZE
    assert f"mean of {SIZE} members of {SIZE} files" in report["notes"]
    found = values(tmp_path / "an.nc")
    for name in ("t", "u", "msl"):
        before = mean_of(members, name)
        np.testing.assert_allclose(
            found[name], before + found[f"{name}_increment"], rtol=2e-6, atol=1e-6 * np.ptp(before)
        )
        truth = fields_at(amplitudes(), FINE, FINE_LEVELS)[name]
        assert error(tmp_path / "an.nc", name) < 0.8 * np.sqrt(
            (FINE.area_weights[:, None] * (before[0] - truth) ** 2).mean()
        )
        assert found[f"{name}_spread"].min() >= 0
        assert found[f"{name}_spread"].mean() > 0
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["background_file"] == "mean of the ensemble"
        assert data.attrs["ensemble_file"].split(", ")[3] == "m03.nc"
        assert len(data.attrs["ensemble_sha256"].split(", ")) == SIZE


@pytest.mark.parametrize("method", ["letkf", "hybrid"])
def test_members_are_those_of_the_ensemble_analysed(
    assimilate: Run, members: Path, tmp_path: Path, method: str
) -> None:
    outcome = assimilate("--save-members", method=method, background=members / "all.nc")
    assert outcome.code == 0, outcome.err
    found = values(tmp_path / "an.nc")
    assert found["t_members"].shape == (SIZE, *found["t"].shape)
    np.testing.assert_allclose(found["t_members"].mean(0), found["t"], atol=2e-3)
    before = values(members / "all.nc")["t"]
    after = found["t_members"]
    assert after.std(0, ddof=1).mean() < 0.9 * before.std(0, ddof=1).mean()
    apart = [
        np.corrcoef((after[i] - after.mean(0)).ravel(), (before[i] - before.mean(0)).ravel())[0, 1]
        for i in range(SIZE)
    ]
    assert np.mean(apart) > 0.6  # each stays close to itself


def test_on_the_models_own_grid_the_spread_is_that_of_the_members(
    assimilate: Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    drawn = amplitudes(24) + 0.4 * rng.standard_normal((SIZE, len(WAVES), 2))
    whole = xr.concat([dataset(a[None], [TIME], GRID, LEVELS) for a in drawn], "realization")
    whole.to_netcdf(tmp_path / "own.nc")
    assert assimilate("--save-members", method="letkf", background=tmp_path / "own.nc").code == 0
    found = values(tmp_path / "an.nc")
    np.testing.assert_allclose(
        found["t_members"].std(0, ddof=1), found["t_spread"], rtol=2e-3, atol=1e-3
    )


def test_full_relaxation_keeps_the_spread(assimilate: Run, members: Path, tmp_path: Path) -> None:
    spreads = {}
    for rtps in (0, 1):
        outcome = assimilate(
            "--save-members",
            "--rtps",
            rtps,
            method="letkf",
            background=members / "all.nc",
            out=tmp_path / f"{rtps}.nc",
        )
        assert outcome.code == 0, outcome.err
        spreads[rtps] = values(tmp_path / f"{rtps}.nc")["u_members"].std(0, ddof=1)
    before = values(members / "all.nc")["u"].std(0, ddof=1)
    np.testing.assert_allclose(spreads[1].mean(), before.mean(), rtol=0.05)
    assert spreads[0].mean() < 0.8 * before.mean()


def test_the_ends_of_the_hybrid_weight(assimilate: Run, members: Path, tmp_path: Path) -> None:
    """Without weight on the ensemble it is oi about its mean; with all of it letkf's mean."""
    mean = read_background_mean(members, tmp_path)
    runs: dict[str, dict[str, Any]] = {
        "static": {
            "method": "hybrid",
            "ensemble": members / "all.nc",
            "background": None,
            "hybrid-weight": 0,
        },
        "oi": {"method": "oi", "background": mean},
        "own": {
            "method": "hybrid",
            "ensemble": members / "all.nc",
            "background": None,
            "hybrid-weight": 1,
        },
        "letkf": {"method": "letkf", "ensemble": members / "all.nc", "background": None},
    }
    found = {}
    for name, options in runs.items():
        outcome = assimilate("--background-error-scale", 1, out=tmp_path / f"{name}.nc", **options)
        assert outcome.code == 0, outcome.err
        found[name] = values(tmp_path / f"{name}.nc")
    for variable in ("t_increment", "msl_increment", "t_spread"):
        np.testing.assert_allclose(
            found["static"][variable], found["oi"][variable], rtol=1e-4, atol=2e-4
        )
        if variable != "t_spread":  # letkf's is relaxed
            np.testing.assert_allclose(
                found["own"][variable], found["letkf"][variable], rtol=1e-3, atol=1e-3
            )
    assert np.abs(found["own"]["t_increment"] - found["oi"]["t_increment"]).max() > 0.1


def read_background_mean(members: Path, folder: Path) -> Path:
    """The mean as a file of its own."""
    with xr.open_dataset(members / "all.nc", decode_times=False) as data:
        data.mean("number", dtype=np.float64, keep_attrs=True).to_netcdf(folder / "mean.nc")
    return folder / "mean.nc"


def test_an_ensemble_beside_the_background(
    assimilate: Run, case: Path, members: Path, tmp_path: Path
) -> None:
    """The background stays the forecast given; the ensemble only says how it errs."""
    outcome = assimilate("--json", "--save-members", method="hybrid", ensemble=members / "all.nc")
    assert outcome.code == 0, outcome.err
    assert f"ensemble of {SIZE} members beside the background" in json.loads(outcome.out)["notes"]
    found, background = values(tmp_path / "an.nc"), values(case / "fc.nc")
    np.testing.assert_allclose(found["t"], background["t"] + found["t_increment"], atol=1e-3)
    np.testing.assert_allclose(found["t_members"].mean(0), found["t"], atol=2e-3)
    oi = assimilate("--overwrite", "--json", method="oi")
    ours, theirs = (found["t_increment"], values(tmp_path / "an.nc")["t_increment"])
    assert oi.code == 0
    assert np.abs(ours - theirs).max() > 0.05


def test_without_an_ensemble_phyda_is_what_it_was(
    assimilate: Run, members: Path, case: Path, tmp_path: Path
) -> None:
    """Choosing one member makes a file with several a single forecast again."""
    alone = assimilate(
        "--members", 2, method="phyda", background=members / "m04.nc", out=tmp_path / "alone.nc"
    )
    chosen = assimilate(
        "--members",
        2,
        "--member",
        4,
        method="phyda",
        background=members / "all.nc",
        out=tmp_path / "chosen.nc",
    )
    assert alone.code == chosen.code == 0
    one, other = values(tmp_path / "alone.nc"), values(tmp_path / "chosen.nc")
    assert all(one[n].tobytes() == other[n].tobytes() for n in ("t", "u_spread", "msl_increment"))


def test_no_usable_observation_publishes_the_mean(
    assimilate: Run, members: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "method": "letkf",
        "background": members / "all.nc",
        "valid-time": "2012-05-01T00",
    }
    assert assimilate(**options).code == 4
    assert assimilate("--allow-no-obs", "--save-members", **options).code == 0
    found = values(tmp_path / "an.nc")
    np.testing.assert_allclose(found["t"], mean_of(members, "t"), atol=1e-3)
    np.testing.assert_allclose(found["t_members"], values(members / "all.nc")["t"], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "letkf"}, "the method letkf needs an ensemble"),
        (
            {"method": "hybrid", "ensemble": "m00.nc", "background": None},
            "at least two members, found 1",
        ),
        ({"method": "oi", "ensemble": "all.nc"}, "the method oi makes no use of --ensemble"),
        ({"method": "oi", "background": None}, "no background and no ensemble"),
        ({"method": "letkf", "ensemble": "all.nc", "hybrid-weight": 2}, "hybrid_weight"),
    ],
)
def test_usage(fails: Run, members: Path, options: dict[str, Any], message: str) -> None:
    if "ensemble" in options:
        options = options | {"ensemble": members / options["ensemble"]}
    assert message in fails(UsageError.exit_code, **options)


def test_a_pattern_without_files(fails: Run, members: Path) -> None:
    assert "no file matches" in fails(
        3, method="letkf", background=None, ensemble=f"{members}/x*.nc"
    )

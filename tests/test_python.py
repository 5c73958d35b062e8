"""phyda in Python: what the commands do, with data in memory as well as in files, in silence."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import xarray as xr

import phyda_cli as phyda
from phyda_cli.errors import InputError, NoObservationsError, PhydaError, UsageError
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.settings.analysis import AnalysisSettings


@pytest.fixture(scope="module")
def files(
    case: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Arguments of an analysis from files."""
    return {
        "background": case / "fc.nc",
        "observations": case / "stations.csv",
        "checkpoint": tiny_checkpoint,
        "method": "oi",
    }


@pytest.fixture(scope="module")
def from_files(files: dict[str, Any]) -> phyda.Analysis:
    return phyda.assimilate(**files)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "truth.nc"
    state = synthetic.amplitudes()
    synthetic.dataset(
        state[None], [synthetic.TIME], synthetic.FINE, synthetic.FINE_LEVELS
    ).to_netcdf(path)
    return path


def same(one: xr.Dataset, other: xr.Dataset) -> bool:
    return bool(one.drop_attrs().identical(other.drop_attrs()))


def test_it_is_what_the_command_writes(
    request: pytest.FixtureRequest,
    files: dict[str, Any],
    from_files: phyda.Analysis,
    tmp_path: Path,
) -> None:
    out, fb = tmp_path / "an.nc", tmp_path / "fb.nc"
    options = ("--method", "oi", "--checkpoint", files["checkpoint"], "--feedback", fb, "--json")
    inputs = ("--obs", files["observations"], "--background", files["background"])
    outcome = request.getfixturevalue("phyda")("assimilate", *inputs, *options, "--out", out)
    assert outcome.code == 0, outcome.err
    with xr.open_dataset(out) as written:
        assert same(from_files.dataset, written.load())
        for name in ("phyda_verdict", "obs_sha256", "config_json", "phyda_inputs"):
            assert from_files.dataset.attrs[name] == written.attrs[name], name
    rows = read_feedback(fb)
    assert list(from_files.feedback) == list(rows)
    pd.testing.assert_frame_equal(from_files.feedback, rows, check_dtype=False)
    report = json.loads(outcome.out)
    assert from_files.verdict == report["verdict"]["verdict"]
    assert from_files.report["observations"] == report["observations"]


def test_data_in_memory_are_the_files(files: dict[str, Any], from_files: phyda.Analysis) -> None:
    with xr.open_dataset(files["background"]) as background:
        table = pd.read_csv(files["observations"])
        found = phyda.assimilate(**files | {"background": background, "observations": table})
        assert float(background["t"].isel(latitude=0, longitude=0).max()) > 0  # still open
    assert same(found.dataset, from_files.dataset)
    numbers = ["ObsValue", "ombg", "oman", "EffectiveQC"]
    pd.testing.assert_frame_equal(found.feedback[numbers], from_files.feedback[numbers])
    read = phyda.read_observations(files["observations"])
    again = phyda.assimilate(**files | {"observations": read})
    assert same(again.dataset, from_files.dataset)
    assert again.feedback["source_row"].tolist() == from_files.feedback["source_row"].tolist()


def test_what_is_given_stays_as_it_is(files: dict[str, Any]) -> None:
    with xr.open_dataset(files["background"]) as file:
        background = file.load()
    background["t"][0, 0, 3, 4] = 1e4  # not to be believed
    table = pd.read_csv(files["observations"])
    before, rows = background.copy(deep=True), table.copy()
    a = phyda.assimilate(**files | {"background": background, "observations": table})
    xr.testing.assert_identical(background, before)
    pd.testing.assert_frame_equal(table, rows)
    assert any("1 of 312 points" in note for note in a.report["notes"])
    feedback = a.feedback.copy()
    phyda.verify(a)
    pd.testing.assert_frame_equal(a.feedback, feedback)


def test_a_table_with_times_of_pandas_and_an_index(files: dict[str, Any]) -> None:
    table = pd.read_csv(files["observations"], parse_dates=["time"])
    plain = phyda.read_observations(files["observations"])
    for given in (table, table.set_index("station_id")):
        read = phyda.read_observations(given)
        assert (read["time"] == plain["time"]).all()
        np.testing.assert_array_equal(read["value"], plain["value"])
        assert (read["station_id"] == plain["station_id"]).all()


def test_its_parts(from_files: phyda.Analysis) -> None:
    a = from_files
    assert set(a.increment) == set(a.spread) == {"z", "t", "q", "u", "v", "msl"}
    assert not a.members
    assert set(a.analysis) >= {"t", "orography"}
    assert not [n for n in a.analysis if str(n).endswith("_increment")]
    assert np.issubdtype(a.analysis["time"].dtype, np.datetime64)
    assert float(np.abs(a.increment["t"]).max()) > 0


def test_members_on_demand(files: dict[str, Any]) -> None:
    a = phyda.assimilate(**files | {"method": "phyda"}, members=4, keep_members=True)
    assert a.members.sizes["realization"] == 4
    np.testing.assert_allclose(a.members["t"].mean("realization"), a.analysis["t"], atol=1e-3)
    assert "realization" not in a.analysis.dims


def test_an_ensemble_in_memory(files: dict[str, Any]) -> None:
    with xr.open_dataset(files["background"]) as background:
        rng = np.random.default_rng(0)
        members = [
            background.assign(t=background["t"] + np.float32(rng.normal())) for _ in range(4)
        ]
        options = files | {"background": None, "method": "letkf"}
        together = phyda.assimilate(**options, ensemble=members)
        joined = xr.concat(members, pd.Index(range(4), name="number"), data_vars=["t"])
        alike = phyda.assimilate(**options | {"background": joined})
    assert together.report["ensemble_members"] == 4
    np.testing.assert_allclose(together.analysis["t"], alike.analysis["t"], atol=1e-4)


def test_verify_in_memory_and_from_files(
    truth: Path, files: dict[str, Any], from_files: phyda.Analysis, tmp_path: Path
) -> None:
    v = phyda.verify(from_files, truth=truth, observations=files["observations"])
    assert {"fields", "observations"} == set(v.scores["source"])
    t = v.scores.query("variable == 't' and level == '500' and region == 'all' and score == 'rmse'")
    assert t.set_index("state")["value"]["analysis"] < t.set_index("state")["value"]["background"]
    assert "analyses" not in v.headline
    assert set(v.stations["station"]) == set(from_files.feedback["station_id"])
    from_files.dataset.to_netcdf(tmp_path / "an.nc")
    with xr.open_dataset(truth) as state:
        w = phyda.verify(str(tmp_path / "*.nc"), truth=state, feedback=from_files.feedback)
    key = ["source", "variable", "level", "region", "independence", "state", "score"]
    fields = v.scores[v.scores["source"] == "fields"].set_index(key)["value"]
    np.testing.assert_allclose(w.scores.set_index(key)["value"][fields.index], fields, rtol=1e-5)
    v.write_report(tmp_path / "v.html")
    assert (tmp_path / "v.html").read_text().startswith("<!DOCTYPE html>")
    assert v.scorecard().empty


def test_a_run_against_itself(truth: Path, from_files: phyda.Analysis) -> None:
    card = phyda.verify(from_files, truth=truth, against=from_files).scorecard()
    assert set(card["verdict"]) == {"too few"}
    assert (card["change"] == 0).all()


@pytest.mark.parametrize("kind", [str, np.datetime64, pd.Timestamp, lambda t: f"{t}Z"])
def test_times_of_every_kind(files: dict[str, Any], kind: Any) -> None:
    with xr.open_dataset(files["background"]) as background:
        later = background.assign_coords(time=background["time"] + np.timedelta64(6, "h"))
        both = xr.concat([background, later], "time", data_vars="minimal")
        found = phyda.assimilate(
            **files | {"background": both}, time=kind(background["time"].values[0])
        )
        assert found.dataset["time"].values == background["time"].values


def test_settings_by_name_and_as_an_object(files: dict[str, Any]) -> None:
    named = phyda.assimilate(**files, settings={"qc.withhold": 0.3, "seed": 3})
    settings = AnalysisSettings.model_validate({"qc": {"withhold": 0.3}, "seed": 3, "method": "oi"})
    as_object = phyda.assimilate(**files | {"method": None}, settings=settings)
    assert same(named.dataset, as_object.dataset)
    assert (named.feedback["EffectiveQC"] == 1).any()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"background": "none.nc"}, InputError),
        ({"background": None}, UsageError),
        ({"observations": []}, NoObservationsError),
        ({"observations": "none*.csv"}, InputError),
        ({"observations": pd.DataFrame({"a": [1]})}, InputError),
        ({"background": xr.Dataset({"a": 1})}, InputError),
        ({"settings": {"qc.colour": 1}}, UsageError),
        ({"method": "magic"}, UsageError),
        ({"time": "tomorrow"}, UsageError),
        ({"background": xr.DataArray(1.0)}, UsageError),
        ({"observations": 3}, UsageError),
    ],
)
def test_errors_are_of_the_family(
    files: dict[str, Any], change: dict[str, Any], error: type[PhydaError]
) -> None:
    with pytest.raises(error) as caught:
        phyda.assimilate(**files | change)
    assert caught.value.message


def test_it_is_silent_and_leaves_no_file(
    files: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    a = phyda.assimilate(**files)
    phyda.verify(a, observations=files["observations"])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_everything_is_typed_and_documented() -> None:
    for name in sorted({*phyda.__all__} - {"__version__"}):
        thing = getattr(phyda, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            parameters = signature.parameters.values()
            assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
            assert signature.return_annotation is not inspect.Signature.empty


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, phyda_cli; print(phyda_cli.__version__, dir(phyda_cli), *sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "xarray", "numpy", "pandas", "typer", "phyda_cli.python"} & set(loaded)
    with pytest.raises(AttributeError, match="colour"):
        phyda.colour  # noqa: B018

"""Plug-ins by entry points: the example package, installed into a folder of its own, adds a format,
a denoiser and an operator; what is wrong with one is said."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phyda_cli as library
from phyda_cli import plugins
from phyda_cli.errors import InputError, UsageError
from phyda_cli.model.checkpoint import Checkpoint, build_networks, save_checkpoint
from phyda_cli.observations.read import decode
from phyda_cli.settings.model import NetworkSettings

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"


def install(folder: Path, entries: dict[str, dict[str, str]]) -> None:
    """What pip leaves of a package beside its modules."""
    info = folder / "phyda_plugin-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: phyda-plugin\nVersion: 0.1.0\n")
    lines = []
    for group, named in entries.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, and no memory of plug-ins before or after."""
    folder = tmp_path / "site"
    folder.mkdir()
    decode._load_formats()
    formats = dict(decode._FORMATS)
    monkeypatch.syspath_prepend(folder)
    _forget()
    yield folder
    decode._FORMATS.clear()
    decode._FORMATS.update(formats)
    for name in [n for n in sys.modules if n.partition(".")[0] == "phyda_plugin"]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    plugins.load_all.cache_clear()
    decode._load_formats.cache_clear()
    importlib.invalidate_caches()


@pytest.fixture
def installed(site: Path) -> Path:
    """The example package."""
    shutil.copytree(EXAMPLE / "phyda_plugin", site / "phyda_plugin")
    stated = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    install(site, stated["project"]["entry-points"])
    return site


@pytest.fixture
def options(case: Path, tiny_checkpoint: Path) -> dict[str, Any]:
    return {
        "background": case / "fc.nc",
        "observations": case / "stations.csv",
        "checkpoint": tiny_checkpoint,
        "members": 4,
    }


def test_a_format(installed: Path, tmp_path: Path) -> None:
    log = "#BUOYLOG\nB1 2020-01-01T06:00:00 45.10 -20.30 13.2 1013.4\nB2 2020-01-01 here\n"
    (tmp_path / "buoys.log").write_text(log)
    table = library.read_observations(tmp_path / "buoys.log")
    assert table["variable"].tolist() == ["t2m", "msl"]
    np.testing.assert_allclose(table["value"], [286.35, 101340.0])
    np.testing.assert_allclose(table["longitude"], 339.7)
    assert len(table.attrs["problems"]) == 1
    assert "buoys.log:3" in table.attrs["problems"][0]


def test_a_denoiser(
    installed: Path, tiny_checkpoint: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    old = Checkpoint.open(tiny_checkpoint)
    network = old.metadata.network.model_copy(update={"denoiser_kind": "plain"})
    encoder, denoiser = build_networks(old.state, network)
    assert type(denoiser).__name__ == "Plain"
    encoder.load_state_dict(old.networks()[0].state_dict())
    metadata = old.metadata.model_dump(mode="json") | {"network": network.model_dump(mode="json")}
    metadata.pop("files")
    folder = save_checkpoint(
        tmp_path / "plain", metadata, old.statics, old.all_members(), encoder, denoiser,
        old.background_spread(), old.mean_error,
    )  # fmt: skip
    again = Checkpoint.open(folder).networks()[1]
    shape = (2, old.state.n_channels, *old.state.grid.shape)
    latent = [
        torch.zeros(1, w, *(-(-n // 2**k) for n in shape[2:]))
        for k, w in enumerate(network.encoder)
    ]
    x, sigma = torch.randn(shape, generator=torch.manual_seed(0)), torch.ones(2)
    torch.testing.assert_close(again.conditioned(latent)(x, sigma), x / 2)  # c_skip at sigma 1
    a = library.assimilate(**options | {"checkpoint": folder})
    assert a.verdict in ("ok", "suspect")
    assert float(a.spread["t"].max()) > 0


def test_an_operator(installed: Path, phyda: Any, options: dict[str, Any], tmp_path: Path) -> None:
    without = library.assimilate(**options)
    speed = np.hypot(without.analysis["u"], without.analysis["v"]).isel(time=0, level=-1)
    place = {"latitude": 40.0, "longitude": 90.0}
    here = float(speed.sel(place, method="nearest"))
    (tmp_path / "speeds.csv").write_text(
        f"latitude,longitude,speed,error\n40,90,{here + 8:.2f},0.1\n"
    )
    files = {"wind_speed_850": tmp_path / "speeds.csv"}
    found = library.assimilate(**options, operators=files)
    after = np.hypot(found.analysis["u"], found.analysis["v"]).isel(time=0, level=-1)
    change = (after - speed).sel(place, method="nearest")
    assert float(change) > 0.05  # stage 1 is sure of the wind already
    assert "1 observations by the operator wind_speed_850" in " ".join(found.report["notes"])
    assert found.dataset.attrs["operators"] == "wind_speed_850"
    from phyda_plugin.wind_speed import wind_speed_850

    same = library.assimilate(
        **options,
        operators=[lambda spec, time: wind_speed_850(tmp_path / "speeds.csv", spec, time)],
    )
    np.testing.assert_array_equal(same.analysis["u"], found.analysis["u"])
    command = [
        "assimilate",
        "--obs",
        options["observations"],
        "--background",
        options["background"],
    ]
    command += [
        "--checkpoint",
        options["checkpoint"],
        "--out",
        tmp_path / "an.nc",
        "--method",
        "oi",
    ]
    outcome = phyda(*command, "--operator", f"wind_speed_850={tmp_path / 'speeds.csv'}")
    assert outcome.code == 2
    assert "use phyda or guidance" in outcome.err


def test_what_is_not_there_is_said_with_what_is(installed: Path) -> None:
    with pytest.raises(UsageError, match=r"no plug-in 'colour'.*installed: plain"):
        plugins.plugin(plugins.DENOISERS, "colour")


def test_a_plugin_that_cannot_be_loaded_is_named(site: Path, tmp_path: Path) -> None:
    (site / "broken_plugin.py").write_text("raise RuntimeError('no licence')\n")
    install(site, {plugins.READERS: {"odd": "broken_plugin"}})
    (tmp_path / "a.csv").write_text("station_id,time,latitude,longitude,t2m\n")
    with pytest.raises(UsageError, match=r"odd \(phyda.readers, broken_plugin\).*no licence"):
        library.read_observations(tmp_path / "a.csv")


def test_what_is_no_denoiser_is_refused(site: Path, tiny_checkpoint: Path) -> None:
    install(site, {plugins.DENOISERS: {"odd": "math:pi"}})
    state = Checkpoint.open(tiny_checkpoint).state
    with pytest.raises(UsageError, match="odd is no subclass"):
        build_networks(
            state, NetworkSettings(encoder=(8, 16), denoiser=(8, 16), denoiser_kind="odd")
        )


def test_an_operator_without_errors_is_refused(options: dict[str, Any]) -> None:
    from phyda_cli.analysis.guided import UserObservations

    def nothing(*_: Any) -> UserObservations:
        return UserObservations(lambda x: x[:, :1, 0, 0], np.ones(1), np.zeros(1))

    with pytest.raises(InputError, match="nothing gives 1 values"):
        library.assimilate(**options, operators=[nothing])

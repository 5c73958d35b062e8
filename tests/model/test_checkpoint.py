"""Checkpoints: what is saved comes back, and what was changed is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from synthetic import CHANNELS, GRID, spec

from phyda_cli.errors import EXIT_INPUT, InputError
from phyda_cli.model.checkpoint import Checkpoint, build_networks, in_season, save_checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import N_CONDITIONS, Encoder
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings

SIZES = NetworkSettings(encoder=(8, 16), denoiser=(8, 16))
TIMES = tuple(
    str(np.datetime64("2010-01-01T06:00:00") + np.timedelta64(30 * i, "D")) for i in range(100)
)


@pytest.fixture(scope="module")
def networks() -> tuple[Encoder, Denoiser]:
    torch.manual_seed(0)
    encoder, denoiser = build_networks(spec(), SIZES)
    with torch.no_grad():
        for network in (encoder, denoiser):
            for p in network.parameters():
                p.add_(0.05 * torch.randn_like(p))
        encoder.calibration.uniform_(0.8, 1.2)
    return encoder.eval(), denoiser.eval()


@pytest.fixture(scope="module")
def members() -> torch.Tensor:
    """More than fit into one file."""
    scale = torch.logspace(-1, 1, len(CHANNELS))[:, None, None]
    return scale * torch.randn(
        100, len(CHANNELS), *GRID.shape, generator=torch.Generator().manual_seed(3)
    )


def save(
    folder: Path,
    networks: tuple[Encoder, Denoiser],
    members: torch.Tensor,
    season_days: int | None = None,
) -> Path:
    metadata: dict[str, object] = {
        "name": "test",
        "state": spec(),
        "solver": SolverSettings(season_days=season_days),
        "sampler": SamplerSettings(),
        "network": SIZES,
        "member_times": TIMES,
        "physics_scale": {"mass": [1.0, 2.0]},
        "training": {"pairs": 3},
    }
    statics = {"orography": 100 * np.ones(GRID.shape), "lsm": np.eye(*GRID.shape)}
    return save_checkpoint(folder, metadata, statics, members, *networks)


@pytest.fixture
def folder(tmp_path: Path, networks: tuple[Encoder, Denoiser], members: torch.Tensor) -> Path:
    return save(tmp_path / "model", networks, members)


def use(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    checkpoint.members(np.datetime64("2011-01-01"))
    checkpoint.networks()


def message(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        use(folder)
    assert caught.value.exit_code == EXIT_INPUT
    assert str(folder) in caught.value.message
    return caught.value.message


def test_networks_come_back_to_half_precision(
    folder: Path, networks: tuple[Encoder, Denoiser]
) -> None:
    encoder, denoiser = Checkpoint.open(folder).networks()
    assert not encoder.training
    assert not denoiser.training
    fields = [torch.randn(1, len(CHANNELS), *GRID.shape).abs() for _ in range(5)]
    place = torch.randn(1, N_CONDITIONS, *GRID.shape)
    with torch.inference_mode():
        ours, theirs = networks[0](*fields, place), encoder(*fields, place)
        torch.testing.assert_close(theirs.mean, ours.mean, rtol=5e-3, atol=1e-2)
        torch.testing.assert_close(theirs.std, ours.std, rtol=2e-2, atol=1e-2)
        sigma = torch.tensor([0.4])
        a, b = (d.conditioned(ours.latent)(fields[0], sigma) for d in (networks[1], denoiser))
        torch.testing.assert_close(a, b, rtol=5e-3, atol=1e-2)
    for key, value in networks[0].state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[key], value, rtol=2**-10, atol=1e-7)


def test_members_come_back_to_a_byte(folder: Path, members: torch.Tensor) -> None:
    back = Checkpoint.open(folder).members(np.datetime64("2011-01-01")) * 10
    step = members.abs().amax(dim=(2, 3), keepdim=True) / 127
    assert ((back - members).abs() <= 0.501 * step).all()
    assert sorted(p.name for p in folder.glob("members_*")) == [
        "members_00.safetensors",
        "members_01.safetensors",
    ]


def test_statics_and_metadata(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    np.testing.assert_array_equal(checkpoint.statics["orography"], 100)
    np.testing.assert_array_equal(checkpoint.statics["lsm"], np.eye(*GRID.shape))
    assert checkpoint.state == spec()
    assert checkpoint.metadata.physics_scale == {"mass": [1.0, 2.0]}
    assert checkpoint.metadata.license == ""  # nobody chose one
    assert Checkpoint.open(folder / "model.json").sha256 == checkpoint.sha256
    assert len(checkpoint.sha256) == 64


def test_no_pickle_and_half_precision_on_disk(folder: Path) -> None:
    assert {p.suffix for p in folder.iterdir()} == {".safetensors", ".json"}
    with safe_open(str(folder / "network.safetensors"), "pt") as file:
        assert {file.get_tensor(k).dtype for k in file.keys()} == {torch.float16}  # noqa: SIM118 not a dictionary
    with safe_open(str(folder / "members_00.safetensors"), "pt") as file:
        assert file.get_tensor("members").dtype == torch.int8


def test_missing_folder_and_foreign_files(tmp_path: Path) -> None:
    assert "cannot read model.json" in message(tmp_path)
    (tmp_path / "model.json").write_text("not json")
    assert "is no JSON text" in message(tmp_path)
    (tmp_path / "model.json").write_text('{"colour": 1}')
    assert "is not a phyda checkpoint" in message(tmp_path)


def test_other_format(folder: Path) -> None:
    text = json.loads((folder / "model.json").read_text()) | {"format": 3}
    (folder / "model.json").write_text(json.dumps(text))
    assert "checkpoint format 3, this phyda reads format 2" in message(folder)


@pytest.mark.parametrize(
    "name", ["network.safetensors", "statics.safetensors", "members_01.safetensors"]
)
def test_a_changed_byte_and_a_lost_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    text = message(folder)
    assert f"{name} does not match its hash in model.json" in text
    (folder / name).unlink()
    assert f"the checkpoint lacks {name}" in message(folder)


def rewrite(folder: Path, channels: tuple[str, ...], keep_members: bool) -> None:
    """State another channel list, with hashes that are right."""
    text = json.loads((folder / "model.json").read_text())
    text["state"] = spec(channels).model_dump(mode="json")
    if keep_members:
        for name in [n for n in text["files"] if n.startswith("members")]:
            n = 96 if name == "members_00.safetensors" else 4
            shape = (n, len(channels), *GRID.shape)
            save_file(
                {"members": torch.zeros(shape, dtype=torch.int8), "scale": torch.ones(shape[:2])},
                str(folder / name),
            )
            text["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            text["sizes"][name] = (folder / name).stat().st_size
    (folder / "model.json").write_text(json.dumps(text))


def test_channel_list_that_does_not_match(folder: Path) -> None:
    rewrite(folder, CHANNELS[:-1], keep_members=False)
    assert "members have shape (100, 16, 8, 16), model.json says (100, 15, 8, 16)" in message(
        folder
    )
    rewrite(folder, CHANNELS[:-1], keep_members=True)
    assert "the weights do not fit the 15 channels that model.json lists" in message(folder)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("statics.safetensors", {"lsm": torch.zeros(GRID.shape)}),
        ("statics.safetensors", {"orography": torch.zeros(3, 2), "lsm": torch.zeros(GRID.shape)}),
        ("members_01.safetensors", {"members": torch.zeros(4, len(CHANNELS), *GRID.shape)}),
        (
            "members_01.safetensors",
            {"members": torch.zeros(4, 2, *GRID.shape), "scale": torch.zeros(3, 2)},
        ),
    ],
)
def test_tensors_that_are_missing_or_of_another_shape(
    folder: Path, name: str, tensors: dict[str, torch.Tensor]
) -> None:
    save_file(tensors, str(folder / name))
    text = json.loads((folder / "model.json").read_text())
    text["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    text["sizes"][name] = (folder / name).stat().st_size
    (folder / "model.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match=name):
        _ = Checkpoint.open(folder).statics, Checkpoint.open(folder).all_members()


def test_members_that_are_not_listed(folder: Path) -> None:
    text = json.loads((folder / "model.json").read_text())
    for name in ("members_00.safetensors", "members_01.safetensors"):
        del text["files"][name]
    (folder / "model.json").write_text(json.dumps(text))
    assert "members have shape (0,)" in message(folder)


def test_members_of_the_season_keep_the_variance(
    tmp_path: Path, networks: tuple[Encoder, Denoiser], members: torch.Tensor
) -> None:
    checkpoint = Checkpoint.open(save(tmp_path / "model", networks, members, season_days=40))
    winter, summer = (checkpoint.members(np.datetime64(t)) for t in ("2015-01-05", "2015-07-05"))
    expected = in_season(np.array(TIMES, "datetime64[s]"), np.datetime64("2015-01-05"), 40)
    assert winter.shape[0] == expected.size < 40
    torch.testing.assert_close(winter * expected.size**0.5, members[expected], rtol=0, atol=0.5)
    assert winter.shape[0] != summer.shape[0] or not torch.equal(winter, summer)
    ratio = winter.square().sum(0).mean((1, 2)) / members.square().mean(0).mean((1, 2))
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.1, atol=0.1)


def test_season_goes_round_the_year() -> None:
    times = np.array(
        ["2010-12-20", "2011-01-10", "2011-02-20", "2011-07-01", "2012-01-01"], "datetime64[s]"
    )
    assert in_season(times, np.datetime64("1999-12-31T12:00"), 15).tolist() == [0, 1, 4]
    assert in_season(times, np.datetime64("2030-06-20"), 183).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="no static members within 10 days"):
        in_season(times, np.datetime64("2011-05-01"), 10)

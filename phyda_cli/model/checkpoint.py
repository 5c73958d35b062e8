"""Checkpoints: a folder with ``model.json`` and safetensors files whose hashes it lists; never a
pickle.

``network.safetensors`` holds encoder, denoiser and background spread (float16),
``statics.safetensors`` orography and land fraction, and ``members_*.safetensors`` the static
background-error members as int8 with one scale for each member and channel. Where backgrounds are
corrected first, ``mean_error.safetensors`` says how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.earth import DAYS, day_of_year
from phyda_cli.fields.state import StateSpec
from phyda_cli.files.publish import publish_folder, sha256
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.climate import PACKED, Climate, packed, unpacked
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.model.mean_error import N_SEASON, MeanError
from phyda_cli.model.metadata import DESCRIPTION, Metadata, read_metadata, require_files
from phyda_cli.plugins import DENOISERS, plugin
from phyda_cli.settings.model import NetworkSettings

__all__ = [
    "BUNDLED",
    "Checkpoint",
    "build_networks",
    "build_spread",
    "in_season",
    "save_checkpoint",
]

BUNDLED = Path(__file__).resolve().parents[1] / "pretrained"
MEMBERS_PER_FILE = 96
Network = TypeVar("Network", Encoder, Denoiser, BackgroundSpread)
Shapes = dict[str, tuple[int | None, ...]]
STATICS = ("orography", "lsm")
MEAN_ERROR = "mean_error.safetensors"
CLIMATE = "climate.safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened checkpoint; networks and members are read when first used."""

    path: Path
    metadata: Metadata

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read ``model.json`` and verify every file's hash.

        Raises InputError when something is missing, malformed or does not match its hash.
        """
        folder = path.parent if path.name == DESCRIPTION else path
        metadata = read_metadata(folder)
        require_files(folder, metadata)
        return cls(folder, metadata)

    @property
    def state(self) -> StateSpec:
        """The state the checkpoint works on."""
        return self.metadata.state

    @property
    def sha256(self) -> str:
        """Hash of ``model.json``, which holds the hashes of everything else."""
        return sha256(self.path / DESCRIPTION)

    @cached_property
    def statics(self) -> dict[str, np.ndarray]:
        """``orography`` [m] and ``lsm`` [1], each (H, W)."""
        shapes: Shapes = dict.fromkeys(STATICS, self.state.grid.shape)
        return {k: v.numpy() for k, v in self._tensors("statics.safetensors", shapes).items()}

    @cached_property
    def mean_error(self) -> MeanError | None:
        """What is known of a background's error from itself, where the training looked for it."""
        if MEAN_ERROR not in self.metadata.files:
            return None
        fields = (self.state.n_channels, *self.state.grid.shape)
        shapes: Shapes = {"origin": fields, "patterns": (None, *fields), "weights": (None, *fields)}
        found = MeanError(**{k: v.numpy() for k, v in self._tensors(MEAN_ERROR, shapes).items()})
        if not found.fits:
            raise InputError(
                f"{self.path / MEAN_ERROR}: {len(found.weights)} weights do not fit "
                f"{len(found.patterns)} patterns"
            )
        return found

    @cached_property
    def climate(self) -> Climate | None:
        """The climate of the training data by date, where the training kept it."""
        if CLIMATE not in self.metadata.files:
            return None
        n = self.state.n_channels
        fields = (n, *self.state.grid.shape)
        shapes: Shapes = {"weights": (N_SEASON, *fields), "deviation": fields}
        if not set(PACKED) & set(self._load(CLIMATE)):  # before version 0.2: in physical units
            return Climate(**{k: v.numpy() for k, v in self._tensors(CLIMATE, shapes).items()})
        found = self._tensors(CLIMATE, shapes | dict.fromkeys(PACKED, (n,)))
        return unpacked({k: v.float().numpy() for k, v in found.items()})

    def _load(self, name: str) -> dict[str, torch.Tensor]:
        try:
            return load_file(str(self.path / name))
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.path / name} cannot be read: {error}") from error

    def _tensors(self, name: str, shapes: Shapes) -> dict[str, torch.Tensor]:
        """The tensors of the file ``name`` that ``shapes`` names; InputError unless they have these
        shapes, where None is any number."""
        found = self._load(name)
        for key, expected in shapes.items():
            shape = tuple(found[key].shape) if key in found else None
            same = shape is not None and len(shape) == len(expected)
            if not same or any(
                n not in (None, m) for n, m in zip(expected, shape or (), strict=True)
            ):
                raise InputError(
                    f"{self.path / name}: {key} has shape {shape}, expected {expected}"
                )
        return {key: found[key] for key in shapes}

    def all_members(self) -> torch.Tensor:
        """Every static member (N, C, H, W), a normalised background error each."""
        names = [name for name in sorted(self.metadata.files) if name.startswith("members_")]
        parts = [self._part(name) for name in names]
        members = torch.cat(parts) if parts else torch.empty(0)
        expected = (len(self.metadata.member_times), self.state.n_channels, *self.state.grid.shape)
        if tuple(members.shape) != expected:
            raise InputError(
                f"{self.path}: members have shape {tuple(members.shape)}, model.json says "
                f"{expected}"
            )
        return members

    def _part(self, name: str) -> torch.Tensor:
        """The members in one file."""
        part = self._tensors(name, {"members": (None,) * 4, "scale": (None, None)})
        if part["members"].shape[:2] != part["scale"].shape:
            raise InputError(f"{self.path / name}: members and their scale differ in number")
        return part["members"].float() * part["scale"][:, :, None, None]

    def members(self, time: np.datetime64) -> torch.Tensor:
        """Static members (N, C, H, W) of normalised increments for ``time``, scaled so that X X^T =
        B."""
        members = self.all_members()
        if self.metadata.solver.season_days is not None:
            members = members[
                in_season(
                    np.array(self.metadata.member_times, dtype="datetime64[s]"),
                    time,
                    self.metadata.solver.season_days,
                )
            ]
        return members / members.shape[0] ** 0.5

    def networks(self) -> tuple[Encoder, Denoiser]:
        """Encoder and denoiser for inference: float32, their weights fixed. Raises InputError when
        the weights do not fit the state."""
        encoder, denoiser = build_networks(self.state, self.metadata.network)
        return self._filled(encoder, "encoder."), self._filled(denoiser, "denoiser.")

    def background_spread(self) -> BackgroundSpread | None:
        """The network of the background spread, likewise, where the checkpoint has one."""
        network = build_spread(self.state, self.metadata.network)
        return network and self._filled(network, "spread.")

    def _filled(self, network: Network, prefix: str) -> Network:
        own = {
            k.removeprefix(prefix): v.float()
            for k, v in self._load("network.safetensors").items()
            if k.startswith(prefix)
        }
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(
                f"{self.path}: the weights do not fit the {self.state.n_channels} channels that "
                "model.json lists",
                hint=str(error).splitlines()[-1].strip(),
            ) from error
        return network.eval().requires_grad_(False)


def build_spread(spec: StateSpec, settings: NetworkSettings) -> BackgroundSpread | None:
    """An untrained network of the background spread, where ``settings`` have one."""
    return (
        BackgroundSpread(spec.n_channels, spec.grid.shape, settings.spread, _on_sphere(spec))
        if settings.spread
        else None
    )


def _on_sphere(spec: StateSpec) -> bool:
    return spec.grid.periodic and all(spec.grid.covers_poles) and spec.grid.shape[1] % 2 == 0


def build_networks(spec: StateSpec, settings: NetworkSettings) -> tuple[Encoder, Denoiser]:
    """Untrained networks for a state. Raises UsageError where the denoiser is a plug-in that cannot
    be had."""
    sphere = _on_sphere(spec)
    encoder = Encoder(spec.n_channels, settings.encoder, sphere, settings.odd)
    kind = _denoiser(settings.denoiser_kind)
    return encoder, kind(spec.n_channels, settings.denoiser, settings.encoder, sphere)


def _denoiser(kind: str) -> type[Denoiser]:
    """The class of denoisers called ``kind``. Raises UsageError for a plug-in that is not there or
    is no denoiser."""
    if kind == "unet":
        return Denoiser
    found = plugin(DENOISERS, kind)
    if not (isinstance(found, type) and issubclass(found, Denoiser)):
        raise UsageError(f"the plug-in {kind} is no subclass of phyda_cli.model.denoiser.Denoiser")
    return found


def in_season(times: np.ndarray, time: np.datetime64, days: int) -> np.ndarray:
    """Indices of ``times`` (N,) whose day of the year is within ``days`` of that of ``time``."""
    apart = np.abs(day_of_year(times) - day_of_year(time))
    chosen = np.flatnonzero(np.minimum(apart, DAYS - apart) <= days)
    if chosen.size < 2:
        raise InputError(
            f"the checkpoint has no static members within {days} days of {time} in the year"
        )
    return chosen


def quantise(members: torch.Tensor) -> dict[str, torch.Tensor]:
    """Members (N, C, H, W) as int8 with a scale (N, C)."""
    scale = members.abs().amax(dim=(2, 3)).clamp(min=1e-12) / 127.0
    return {"members": (members / scale[:, :, None, None]).round().to(torch.int8), "scale": scale}


def save_checkpoint(
    folder: Path,
    metadata: dict[str, object],
    statics: dict[str, np.ndarray],
    members: torch.Tensor,
    encoder: Encoder,
    denoiser: Denoiser,
    spread: BackgroundSpread | None = None,
    mean_error: MeanError | None = None,
    climate: Climate | None = None,
) -> Path:
    """Write a checkpoint; ``metadata`` lacks ``files``, which is filled here. The folder appears,
    or is replaced, when all is written."""
    networks = {"encoder": encoder, "denoiser": denoiser} | (
        {} if spread is None else {"spread": spread}
    )
    weights = {
        f"{name}.{k}": v
        for name, network in networks.items()
        for k, v in network.state_dict().items()
    }
    contents = {
        "network.safetensors": {k: v.half().contiguous() for k, v in weights.items()},
        "statics.safetensors": {
            k: torch.as_tensor(v, dtype=torch.float32).contiguous() for k, v in statics.items()
        },
    }
    for i, start in enumerate(range(0, members.shape[0], MEMBERS_PER_FILE)):
        contents[f"members_{i:02d}.safetensors"] = quantise(
            members[start : start + MEMBERS_PER_FILE]
        )
    if mean_error is not None:
        contents[MEAN_ERROR] = {
            k: torch.from_numpy(getattr(mean_error, k)).contiguous()
            for k in ("origin", "patterns", "weights")
        }
    if climate is not None:
        contents[CLIMATE] = {
            k: torch.from_numpy(v).contiguous() for k, v in packed(climate).items()
        }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with publish_folder(folder, check=Checkpoint.open) as temporary:
        files, sizes = {}, {}
        for name, tensors in contents.items():
            save_file(tensors, temporary / name)
            (temporary / name).chmod(0o644)
            files[name] = sha256(temporary / name)
            sizes[name] = (temporary / name).stat().st_size
        model = Metadata.model_validate(metadata | {"files": files, "sizes": sizes}).model_dump(
            mode="json"
        )
        text = json.dumps(model, indent=1) + "\n"
        (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
    return folder

"""What ``model.json`` says, and the files it names: checked before anything else is opened.

A checkpoint may come from anybody. Its files have plain names beside ``model.json``, and they are
regular files of the stated size and hash; a pipe, a device or a path to elsewhere is refused.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from phyda_cli.errors import InputError
from phyda_cli.fields.state import StateSpec
from phyda_cli.files.publish import sha256
from phyda_cli.settings.base import Settings
from phyda_cli.settings.model import (
    CorrectionSettings,
    NetworkSettings,
    SamplerSettings,
    SolverSettings,
)

__all__ = ["DESCRIPTION", "FORMAT", "Metadata", "read_metadata", "require_files"]

DESCRIPTION = "model.json"
FORMAT = 2
COPY = "copy the whole checkpoint again"
_LARGEST_DESCRIPTION = 64 << 20  # bytes; a global model of 384 members takes 40 kB
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\.safetensors")


class Metadata(Settings):
    """``model.json``."""

    format: int = Field(FORMAT, description="Version of this layout.")
    name: str = Field(description="Short name of the model.")
    state: StateSpec = Field(description="Channels, grid and statistics.")
    solver: SolverSettings = Field(description="Stage 1 as trained.")
    sampler: SamplerSettings = Field(description="Stage 3 as tuned.")
    network: NetworkSettings = Field(description="Network sizes.")
    correction: CorrectionSettings = Field(
        default_factory=CorrectionSettings,
        description="What the training expects of the weight of the learned correction.",
    )
    member_times: tuple[str, ...] = Field(
        description="Valid time of each static member, for the choice by season."
    )
    physics_scale: dict[str, list[float]] = Field(
        description="V_k of the physics term by layer: the background's mean square residual "
        "difference."
    )
    training: dict[str, object] = Field(
        description="Data, span, settings, hardware, duration and scores."
    )
    license: str = Field("", description="Licence of the weights, where whoever made them chose.")
    files: dict[str, str] = Field(description="SHA-256 of each file beside this one.")
    sizes: dict[str, int] = Field(default_factory=dict, description="Size of each file [bytes].")

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is no plain name of a safetensors file")
        return files

    @field_validator("member_times")
    @classmethod
    def _are_times(cls, times: tuple[str, ...]) -> tuple[str, ...]:
        if np.isnat(np.array(times, "datetime64[s]")).any():
            raise ValueError("a member has no valid time")
        return times

    @model_validator(mode="after")
    def _grid_is_one(self) -> Metadata:
        try:
            _ = self.state.grid
        except InputError as error:
            raise ValueError(error.message) from error
        return self


def read_metadata(folder: Path) -> Metadata:
    """``model.json`` of the checkpoint in ``folder``.

    Raises InputError when it is missing, no regular file, or malformed in any way.
    """
    path = folder / DESCRIPTION
    try:
        _require_regular(path, _LARGEST_DESCRIPTION)
        record = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(
            f"no checkpoint at {folder}: cannot read {DESCRIPTION} ({error.strerror or error})",
            hint="give the folder that phyda train has written as OUT/checkpoint, or none for the "
            "bundled one",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON text: {_short(error)}", hint=COPY) from error
    if isinstance(record, dict) and record.get("format") not in (None, FORMAT):
        raise InputError(
            f"{folder}: checkpoint format {str(record['format'])[:20]}, this phyda reads "
            f"format {FORMAT}"
        )
    try:
        return Metadata.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            f"{path} is not a phyda checkpoint: {_short(where)}: {_short(first['msg'])}", hint=COPY
        ) from error


def require_files(folder: Path, metadata: Metadata) -> None:
    """Verify kind, size and hash of every file that ``metadata`` names. Raises InputError."""
    for name, expected in metadata.files.items():
        path = folder / name
        try:
            _require_regular(path, None)
            size = path.stat().st_size
            found = sha256(path) if metadata.sizes.get(name, size) == size else None
        except OSError as error:
            raise InputError(
                f"{folder}: the checkpoint lacks {name} ({error.strerror or error})", hint=COPY
            ) from error
        hint = f"the file was changed or truncated: {COPY}"
        if found is None:
            raise InputError(
                f"{path} has {size} bytes, {DESCRIPTION} says {metadata.sizes[name]}", hint=hint
            )
        if found != expected:
            raise InputError(
                f"{path} does not match its hash in {DESCRIPTION}, {expected[:12]}…", hint=hint
            )


def _require_regular(path: Path, most: int | None) -> None:
    """Raise OSError unless ``path`` is a regular file of ``most`` bytes at most."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no regular file")
    if most is not None and found.st_size > most:
        raise OSError(f"it has {found.st_size} bytes, more than {most}")


def _short(value: object) -> str:
    return str(value).split("\n")[0][:200]

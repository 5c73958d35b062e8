"""``phyda doctor``: whether this installation is sound; what a report of a defect should hold."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli import __version__
from phyda_cli.commands.arguments import Checkpoint as CheckpointOption
from phyda_cli.commands.console import emit_json, emit_text
from phyda_cli.errors import GateError, PhydaError

__all__ = ["doctor"]

LIBRARIES = (
    "torch",
    "numpy",
    "xarray",
    "netCDF4",
    "eccodes",
    "cfgrib",
    "zarr",
    "pydantic",
    "typer",
)
LEAST_DISK = 1e9  # bytes; one analysis of a global forecast of 0.25 degrees


def doctor(
    checkpoint: CheckpointOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this installation: libraries, decoders, model, device, disk and permissions.

    Exits with 5 when something is wrong. Add its output to a report of a defect.

    ```
    phyda doctor
    ```
    """
    from phyda_cli.model.checkpoint import BUNDLED

    checks: dict[str, Callable[[], str]] = {
        "phyda": lambda: f"{__version__}, Python {platform.python_version()}",
        "system": lambda: f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": lambda: str(len(os.sched_getaffinity(0))),
        "libraries": _libraries,
        "projections": _projections,
        "decoders": _decoders,
        "model": lambda: _model(checkpoint or BUNDLED),
        "device": _device,
        "disk": _disk,
        "scratch": _scratch,
    }
    found = {name: _outcome(check) for name, check in checks.items()}
    wrong = [name for name, (good, _) in found.items() if not good]
    if as_json:
        facts: dict[str, Any] = {
            n: {"ok": good, "found": text} for n, (good, text) in found.items()
        }
        emit_json({"schema": 1, "ok": not wrong, "checks": facts})
    else:
        for name, (good, text) in found.items():
            emit_text(f"{name:12} {'ok ' if good else 'BAD'}  {text}\n")
    if wrong:
        raise GateError(f"something is wrong with {', '.join(wrong)}", hint="see the lines above")


def _outcome(check: Callable[[], str]) -> tuple[bool, str]:
    """Whether ``check`` succeeds, and what it says. Here every failure is a finding."""
    try:
        return True, check()
    except PhydaError as error:
        return False, error.message
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


def _libraries() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)


def _projections() -> str:
    """Load pyproj before ecCodes: where ecCodes' own PROJ is first, a process dies as it ends."""
    from phyda_cli import libproj  # noqa: F401

    return "pyproj is loaded first" if "pyproj" in sys.modules else "only ecCodes has one"


def _decoders() -> str:
    """Decode the samples that come with ecCodes. Projections are looked at first: see libproj."""
    import eccodes

    grib = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
    size = eccodes.codes_get_size(grib, "values")
    eccodes.codes_release(grib)
    bufr = eccodes.codes_bufr_new_from_samples("BUFR4")
    eccodes.codes_set(bufr, "unpack", 1)
    eccodes.codes_release(bufr)
    return f"ecCodes {eccodes.codes_get_api_version()}: a GRIB of {size} values and a BUFR"


def _model(folder: Path) -> str:
    from phyda_cli.model.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(folder)
    grid = checkpoint.state.grid.shape
    return (
        f"{checkpoint.metadata.name}, {checkpoint.state.n_channels} channels on "
        f"{grid[1]}x{grid[0]}, sha256 {checkpoint.sha256[:12]}"
    )


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name(0)}"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def _disk() -> str:
    """Free space, and whether this folder can be written to."""
    free = shutil.disk_usage(Path.cwd()).free
    if not os.access(Path.cwd(), os.W_OK):
        return f"{free / 1e9:.1f} GB free here; this folder is read-only"
    if free < LEAST_DISK:
        raise GateError(f"{free / 1e9:.1f} GB free here")
    return f"{free / 1e9:.1f} GB free here"


def _scratch() -> str:
    with tempfile.NamedTemporaryFile(prefix="phyda-") as file:
        file.write(b"x")
        return f"{tempfile.gettempdir()} can be written to"

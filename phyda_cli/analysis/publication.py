"""What an assimilation is asked for, what its outputs were made from, and how they appear."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli import __version__
from phyda_cli.analysis.analyse import Analysis
from phyda_cli.errors import InputError, OutputError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import check_target, publish_text, sha256, together
from phyda_cli.files.readable import in_utf8
from phyda_cli.formats.background import Background
from phyda_cli.formats.inputs import FieldInput, attributes_of, name_of
from phyda_cli.formats.write import write_analysis, write_tendency
from phyda_cli.formats.zarr import is_zarr, store_stamp
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.observations.feedback import write_feedback
from phyda_cli.observations.read.read import ObservationInput, TextTables
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.output import OutputSettings

__all__ = [
    "Request",
    "attribute",
    "grown",
    "one_at_a_time",
    "provenance_of",
    "publish_outputs",
    "stamps",
    "up_to_date",
    "with_copies",
]


@dataclass(frozen=True, eq=False)
class Request:
    """What to assimilate and where to put it; ``None`` outputs are not written. ``operators`` names
    plug-ins and the file of observations that each is for. Without
    ``background`` it is the mean of ``ensemble``. ``previous`` is the feedback file of the analysis
    before this one. Fields and observations may lie in memory too. ``trajectory`` are more files of
    the background's forecast, which hold other times of it; ``lagged`` are forecasts of other
    starts. The rate of the increment over ``iau_hours`` is written where that is given.
    With ``climatology`` the background is the checkpoint's climate."""

    obs: Sequence[ObservationInput]
    background: FieldInput | None
    out: Path | None
    feedback: Path | None = None
    previous: Path | None = None
    ensemble: Sequence[FieldInput] = ()
    trajectory: Sequence[FieldInput] = ()
    lagged: Sequence[FieldInput] = ()
    checkpoint: Path = BUNDLED
    tables: TextTables = field(default_factory=TextTables)
    withhold_file: Path | None = None
    blacklist: Path | None = None
    whitelist: Path | None = None
    limits: Path | None = None
    operators: Mapping[str, Path] = field(default_factory=dict)
    time: np.datetime64 | None = None
    valid_time: np.datetime64 | None = None
    member: int | None = None
    rename: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    overwrite: bool = False
    replace_changed: bool = False
    allow_no_obs: bool = False
    save_members: bool = False
    points: Path | None = None
    iau_hours: float | None = None
    climatology: bool = False

    @property
    def points_out(self) -> Path | None:
        """The table of the analysis at the stations of ``points``, beside the analysis."""
        if self.points is None or self.out is None:
            return None
        return self.out.with_name(f"{self.out.stem}_points.csv")

    @property
    def tendency_out(self) -> Path | None:
        """The file of the increment's rate, beside the analysis."""
        if self.iau_hours is None or self.out is None:
            return None
        return self.out.with_name(f"{self.out.stem}_tendency.nc")

    @property
    def lists(self) -> tuple[Path | None, ...]:
        """The small files beside the observations."""
        lists = self.withhold_file, self.blacklist, self.whitelist, self.limits, self.points
        return *self.tables.files, *lists, *self.operators.values()

    @property
    def fields(self) -> list[FieldInput]:
        """What holds fields."""
        return [*self.forecast, *self.ensemble]

    @property
    def forecast(self) -> list[FieldInput]:
        """The background and the other files of its forecast."""
        return [*([] if self.background is None else [self.background]), *self.trajectory]

    @property
    def files(self) -> list[Path]:
        """The input files."""
        every = (*self.obs, *self.fields, *self.lagged, *self.lists, self.previous)
        return [source for source in every if isinstance(source, Path)]


def provenance_of(
    request: Request, settings: AnalysisSettings, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Global attributes that say what the output was made from; ``phyda_inputs`` is their
    fingerprint, empty where inputs lie in memory, which are not hashed."""
    stated = {
        "phyda_version": __version__,
        "method": settings.method,
        "physics": settings.physics,
        "seed": settings.seed,
        "model_name": checkpoint.metadata.name,
        "model_sha256": checkpoint.sha256,
        "obs_file": ", ".join(in_utf8(name_of(p).name) for p in request.obs),
        "obs_sha256": ", ".join(_hash(p) for p in request.obs),
        "background_file": _without_file(request)
        if request.background is None
        else ", ".join(in_utf8(name_of(p).name) for p in request.forecast),
        "background_sha256": ", ".join(_hash(p) for p in request.forecast),
        "config_json": settings.model_dump_json(),
        "valid_time_override": "" if request.valid_time is None else str(request.valid_time),
    }
    if request.ensemble:
        stated["ensemble_file"] = ", ".join(in_utf8(name_of(p).name) for p in request.ensemble)
        stated["ensemble_sha256"] = ", ".join(_hash(p) for p in request.ensemble)
    if request.lagged:
        stated["lagged_file"] = ", ".join(in_utf8(name_of(p).name) for p in request.lagged)
        stated["lagged_sha256"] = ", ".join(_hash(p) for p in request.lagged)
    if request.iau_hours is not None:
        stated["iau_hours"] = request.iau_hours
    if request.tables.decimals:
        stated["obs_decimal"] = ", ".join(request.tables.decimals)
    if request.tables.maps:
        stated["obs_map_sha256"] = ", ".join(map(_hash, request.tables.files))
    for name, path in (
        ("previous", request.previous),
        ("withheld", request.withhold_file),
        ("blacklist", request.blacklist),
        ("whitelist", request.whitelist),
        ("limits", request.limits),
        ("points", request.points),
    ):
        if path is not None:
            stated[f"{name}_sha256"] = _hash(path)
    if request.operators:
        stated["operators"] = ", ".join(sorted(request.operators))
        stated["operators_sha256"] = ", ".join(
            _hash(request.operators[n]) for n in sorted(request.operators)
        )
    options = (
        str(request.time),
        request.member,
        sorted(request.rename.items()),
        request.save_members,
    )
    fingerprint = hashlib.sha256(
        json.dumps([stated, *map(str, options)], sort_keys=True).encode()
    ).hexdigest()
    in_files = all(
        isinstance(source, Path) for source in (*request.obs, *request.fields, *request.lagged)
    )
    return stated | {"phyda_inputs": fingerprint if in_files else ""}


def _without_file(request: Request) -> str:
    """What the background is where no file holds it."""
    return "climatology" if request.climatology else "mean of the ensemble"


def _hash(path: FieldInput | ObservationInput) -> str:
    """Hash of a file; unreadable ones are left to their reader, which knows what to say."""
    if not isinstance(path, Path):
        return ""
    if path.is_dir() and is_zarr(path):
        return store_stamp(path)
    return sha256(path) if path.is_file() else ""


def up_to_date(request: Request, provenance: dict[str, Any]) -> bool:
    """Whether every output exists and was made from the same inputs; other existing outputs are
    refused here, early."""
    every = request.out, request.feedback, request.points_out, request.tendency_out
    outputs = [p for p in every if p is not None]
    existing = [p for p in outputs if os.path.exists(p)]
    if (
        existing
        and not request.overwrite
        and len(existing) == len(outputs)
        and all(_made_from(p, provenance) for p in existing if p != request.points_out)
    ):
        return True
    for path in outputs:
        check_target(path, _replaces(path, request, provenance))
    taken = {p.resolve() for p in request.files}
    if any(p.resolve() in taken for p in outputs) or len({p.resolve() for p in outputs}) < len(
        outputs
    ):
        raise OutputError(
            "an output would replace an input or another output", hint="give each file its own name"
        )
    return False


def _replaces(path: Path, request: Request, provenance: dict[str, Any]) -> bool:
    """Whether ``path`` may be replaced: with ``--overwrite``; where it was made from the same
    inputs; where other inputs made it and the user wants such outputs replaced; and a feedback
    without its analysis, which an interrupted call has left."""
    if request.overwrite or not path.exists():
        return request.overwrite
    if path == request.points_out:  # as the analysis that it belongs to
        return request.out is not None and _replaces(request.out, request, provenance)
    made_from = attribute(path, "phyda_inputs")
    if made_from is None:  # some other file of the user's
        return False
    alone = path == request.feedback and request.out is not None and not request.out.exists()
    return alone or request.replace_changed or _made_from(path, provenance)


def _made_from(path: Path, provenance: dict[str, Any]) -> bool:
    own = str(provenance["phyda_inputs"])
    return bool(own) and attribute(path, "phyda_inputs") == own


def attribute(path: Path | None, name: str) -> str | None:
    """A global attribute of an output; None for a file without it."""
    if path is None:
        return None
    try:
        found = attributes_of(path).get(name)
    except InputError:  # damaged, or some other file of the user's
        return None
    return None if found is None else str(found)


def publish_outputs(
    request: Request,
    background: Background,
    analysis: Analysis,
    attributes: dict[str, Any],
    settings: OutputSettings,
    points: pd.DataFrame | None = None,
) -> None:
    """Write feedback, the table of ``points`` and the analysis with their global ``attributes``;
    all appear, the analysis last, or none does."""
    with together():
        if request.feedback is not None:
            overwrite = _replaces(request.feedback, request, attributes)
            write_feedback(request.feedback, analysis.feedback, attributes, overwrite)
        if request.points_out is not None and points is not None:
            overwrite = _replaces(request.points_out, request, attributes)
            publish_text(
                request.points_out, points.to_csv(index=False, float_format="%.7g"), overwrite
            )
        if request.tendency_out is not None and request.iau_hours is not None:
            write_tendency(
                request.tendency_out,
                background,
                analysis.fields,
                analysis.increment,
                request.iau_hours,
                attributes,
                _replaces(request.tendency_out, request, attributes),
            )
        if request.out is not None:
            write_analysis(
                request.out,
                background,
                analysis.fields,
                analysis.increment,
                analysis.spread if analysis.status == "ok" else None,
                analysis.members or None,
                attributes,
                _replaces(request.out, request, attributes),
                settings,
            )


@contextmanager
def one_at_a_time(request: Request) -> Iterator[None]:
    """Hold the output while it is made. Raises BusyError when another process makes it."""
    for path in (request.out, request.feedback):
        if path is not None:
            check_target(path, overwrite=True)
    out = request.out or request.feedback
    if out is None:
        yield
        return
    with locked(out.with_name(f".{out.name}.lock"), f"another process makes {out}", remove=True):
        yield


Stamps = dict[Path, tuple[int, int]]


def stamps(sources: Iterable[ObservationInput]) -> Stamps:
    """Size and time of the last change of each file."""
    files = (p for p in sources if isinstance(p, Path) and p.is_file())
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def grown(before: Stamps) -> list[Path]:
    """The files that have changed since ``before``."""
    now = stamps(before)
    return [path for path, stamp in before.items() if now.get(path) != stamp]


@contextmanager
def with_copies(request: Request) -> Iterator[Request]:
    """``request`` with copies of its observations, which nobody else writes to, of the same
    names."""
    with tempfile.TemporaryDirectory(prefix="phyda-") as folder:
        copies: list[ObservationInput] = []
        for number, path in enumerate(request.obs):
            if not isinstance(path, Path):
                copies.append(path)
                continue
            copy = Path(folder, f"{number:03d}", path.name)
            copy.parent.mkdir()
            shutil.copyfile(path, copy)
            copies.append(copy)
        yield replace(request, obs=copies)

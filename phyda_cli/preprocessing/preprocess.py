"""From analyses and forecasts of any format to a training store: regrid, stack channels, find the
pairs, measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import zarr

from phyda_cli.errors import InputError, OutputError
from phyda_cli.formats.inputs import find_inputs, fingerprint, open_series
from phyda_cli.preprocessing.blocks import Job, UnusableValuesError, write_block
from phyda_cli.preprocessing.pairs import PairTable, make_pairs
from phyda_cli.preprocessing.plan import SPAN_BYTES, Plan, make_plan
from phyda_cli.preprocessing.scheduling import Runner, runner
from phyda_cli.preprocessing.statistics import measure, merge, spans
from phyda_cli.preprocessing.store_builder import StoreBuilder
from phyda_cli.settings.data import ExecutionSettings, PreprocessSettings

__all__ = ["preprocess"]

FORMAT = 2
EVERY = 20
Report = Callable[[str], None]
Result = dict[str, np.ndarray]
T = TypeVar("T")


def preprocess(
    inputs: Sequence[Path],
    out: Path,
    settings: PreprocessSettings | None = None,
    report: Report = lambda _: None,
    execution: ExecutionSettings | None = None,
    overwrite: bool = False,
) -> int:
    """Write the training store ``out`` from files, Zarr stores and folders of them; returns the
    number of pairs.

    The same call goes on where an earlier one was stopped, with the same result to the bit. A store
    that has been made from the same inputs with the same settings is left as it is. Raises
    InputError for unusable inputs, UsageError for impossible requests and for a stopped call with
    other settings or inputs, OutputError when ``out`` exists otherwise and is not to be replaced.
    """
    settings, execution = settings or PreprocessSettings(), execution or ExecutionSettings()
    out = out.absolute()
    if not out.parent.is_dir():
        raise OutputError(
            f"cannot write {out}: the folder {out.parent} does not exist",
            hint=f"create it: mkdir -p {out.parent}",
        )
    files = [p.resolve() for p in find_inputs(inputs)]
    record = {
        "format": FORMAT,
        **settings.model_dump(mode="json"),
        "inputs": {str(p): fingerprint(p) for p in files},
    }
    request = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    builder = StoreBuilder(out)
    if out.exists() and (pairs := _up_to_date(out, request)) is not None:
        builder.clear()
        report(f"{out} is up to date")
        return pairs
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already", hint="pass --overwrite to replace it")
    plan = _plan(files, settings, report)
    make_pairs(
        plan, settings, np.zeros(plan.time.size, bool)
    )  # raises now what it would raise in the end
    with runner(execution, plan.need) as run, builder.locked(record):
        builder.prepare(plan, settings.packing)
        job = Job(
            builder.store, plan.channels, plan.grid, settings.packing, settings.missing == "skip"
        )
        progress = partial(
            _report_states, report, len(plan.blocks), sum(b.count for b in plan.blocks)
        )
        try:
            written = _resumed(
                builder, "states", run, partial(write_block, job), plan.blocks, progress
            )
        except UnusableValuesError:  # only with other settings or inputs can it go on
            builder.clear()
            raise
        missing = np.concatenate([w["missing"] for w in written])
        table = make_pairs(plan, settings, missing > 0)
        builder.write(
            {
                k: np.concatenate([w[k] for w in written])
                for k in ("offset", "factor")
                if k in written[0]
            }
        )
        report(f"{len(table.pairs)} pairs; statistics")
        ranges = list(
            spans(table, plan.time.size, 4 * len(plan.channels) * plan.grid.size, SPAN_BYTES)
        )
        moments = _resumed(
            builder, "statistics", run, partial(measure, builder.store), ranges, lambda _: None
        )
        statistics = merge(moments, plan.grid)
        _finish(builder, plan, table, missing, statistics, settings, len(files), request)
    return len(table.pairs)


def _up_to_date(out: Path, request: str) -> int | None:
    """The number of pairs of a complete store of the same request."""
    try:
        group = zarr.open_group(str(out), mode="r")
    except (OSError, KeyError, ValueError):
        return None
    pairs = (
        group["pairs"]
        if group.attrs.get("request") == request and group.attrs.get("complete")
        else None
    )
    return int(pairs.shape[0]) if isinstance(pairs, zarr.Array) else None


def _plan(files: Sequence[Path], settings: PreprocessSettings, report: Report) -> Plan:
    series = []
    for count, path in enumerate(files, 1):
        series.append(open_series(path))
        if count % 500 == 0:
            report(f"{count} of {len(files)} files looked at")
    plan = make_plan(series, settings)
    for note in plan.notes:
        report(f"WARNING: {note}")
    how = {
        "none": "as they are",
        "conservative": "conservative means",
        "bilinear": "bilinear interpolation",
    }
    report(
        f"{plan.analyses} analyses and {plan.time.size - plan.analyses} forecasts in "
        f"{len(files)} files, {len(plan.channels)} channels on "
        f"{plan.grid.shape[1]}x{plan.grid.shape[0]}: {' and '.join(how[m] for m in plan.methods)}"
    )
    return plan


def _resumed(
    builder: StoreBuilder,
    name: str,
    run: Runner,
    function: Callable[[T], Result],
    items: Sequence[T],
    progress: Callable[[int], None],
) -> list[Result]:
    """The results of ``function`` for ``items``, those of an earlier call where it had got to."""
    results = {
        i: found
        for i in range(len(items))
        if (found := builder.result(f"{name}-{i:06d}")) is not None
    }
    left = [i for i in range(len(items)) if i not in results]
    found_now: Iterable[Result] = run.map(function, (items[i] for i in left))
    for i, result in zip(left, found_now, strict=True):
        builder.done(f"{name}-{i:06d}", result)
        results[i] = result
        progress(len(results))
    return [results[i] for i in range(len(items))]


def _report_states(report: Report, blocks: int, states: int, done: int) -> None:
    if done % EVERY == 0 or done == blocks:
        report(f"{states * done // blocks} of {states} states")


def _finish(
    builder: StoreBuilder,
    plan: Plan,
    table: PairTable,
    missing: np.ndarray,
    statistics: Result,
    settings: PreprocessSettings,
    files: int,
    request: str,
) -> None:
    if not np.any(table.split == 0):
        raise InputError(
            "no pair is left for training", hint="see --train-years and --validation-years"
        )
    builder.write(statistics, "statistics")
    builder.write(
        {
            "time": plan.time.astype("int64"),
            "missing": missing.astype(np.int64),
            "pairs": table.pairs,
            "scale": table.scale,
            "lead": table.lead,
            "kind": table.kind,
            "split": table.split,
        }
    )
    builder.publish(
        {
            "format": FORMAT,
            "pairs_kind": ",".join(settings.pairs),
            "files": files,
            **plan.provenance,
            "regridding": list(plan.methods),
            "settings": settings.model_dump(mode="json"),
            "request": request,
        }
    )

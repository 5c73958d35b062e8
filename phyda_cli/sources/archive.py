"""``phyda download`` from an archive: what to fetch, what it will cost, fetching what is not there
yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.settings.data import DownloadSettings
from phyda_cli.sources.catalogue import ARCHIVES, FORECASTS, Provider, forecast_stores, store_of
from phyda_cli.sources.cds import Cds, credentials
from phyda_cli.sources.cds_months import cds_cost, cds_pieces
from phyda_cli.sources.folder import Folder, alone
from phyda_cli.sources.http import Client
from phyda_cli.sources.pieces import (
    Cost,
    Piece,
    Progress,
    check_space,
    fetch,
    outstanding,
    readable,
)
from phyda_cli.sources.zarr_archive import ZarrArchive, analysis_pieces, forecast_pieces

__all__ = ["Origin", "download_archive"]

Report = Callable[[str], None]


@dataclass(frozen=True)
class Origin:
    """Which data: ``source`` of ``ARCHIVES``, resolution (None: its default), forecast model if
    any, a mirror's ``url`` if any."""

    source: str
    resolution: str | None = None
    forecasts: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class _Plan:
    pieces: list[Piece]
    cost: Cost
    notes: list[str]


def download_archive(
    folder: Path,
    origin: Origin,
    settings: DownloadSettings,
    client: Client,
    progress: Progress,
    report: Report,
    dry_run: bool = False,
    verify: bool = False,
) -> list[Path]:
    """Fill ``folder`` with a file for each month (and each forecast); returns the complete files in
    order.

    Says size, requests and free disk before it starts; a ``dry_run`` ends there and writes nothing.
    ``verify`` compares the checksums of files that are there. Raises the errors of
    :mod:`phyda_cli.errors`.
    """
    resolution, store = store_of(origin.source, origin.resolution)
    if origin.forecasts is not None and origin.source != "weatherbench2":
        raise UsageError(
            f"--forecasts {origin.forecasts}: archived forecasts come from --source weatherbench2"
        )
    held = Folder(folder)  # a folder of other data is refused before anything is asked of a server
    for kind, asked in _origins(origin, resolution, settings).items():
        held.claim(kind, asked)
    if origin.source == "cds":
        plan = _plan_cds(origin, settings, float(store), client, report)
    else:
        plan = _plan_zarr(origin, settings, resolution, store, client)
    for note in plan.notes:
        report(f"WARNING: {note}")
    if not plan.pieces:
        raise UsageError(
            f"the archive holds none of the months asked for: {','.join(map(str, settings.years))}"
        )
    _announce(folder, held, plan, report)
    if dry_run:
        return []
    with alone(folder):
        held.save()
        left = outstanding(held, plan.pieces, verify)
        fetch(held, left, len(plan.pieces), progress)
    return [folder / p.name for p in plan.pieces]


def _announce(folder: Path, held: Folder, plan: _Plan, report: Report) -> None:
    there = [p for p in plan.pieces if held.complete(p.name)]
    needed = plan.cost.disk - sum(p.layout.nbytes for p in there)
    free = check_space(folder, needed)
    network = (
        ""
        if plan.cost.transfer is None
        else f", about {readable(plan.cost.transfer)} over the network"
    )
    grid = Grid(plan.pieces[0].layout.latitude, plan.pieces[0].layout.longitude)
    report(
        f"{len(plan.pieces)} files on a grid of {grid.shape[1]}x{grid.shape[0]}: "
        f"{plan.cost.requests} requests{network},"
        f" {readable(plan.cost.disk)} on disk ({readable(free)} free); {len(there)} files are "
        "there already"
    )


def _origins(
    origin: Origin, resolution: str, settings: DownloadSettings
) -> dict[str, dict[str, Any]]:
    """What a folder's files must agree on; years may be added later."""
    common = {
        "source": origin.source,
        "resolution": resolution,
        "variables": sorted(settings.variables),
        "levels": settings.levels,
        "area": settings.area,
    }
    found = {"analysis": common | {"hours": settings.hours}}
    if origin.forecasts is not None:
        found["forecast"] = common | {"model": origin.forecasts, "leads": settings.leads}
    return found


def _plan_cds(
    origin: Origin, settings: DownloadSettings, step: float, client: Client, report: Report
) -> _Plan:
    archive = ARCHIVES["cds"]
    url, key = credentials(archive.url)
    pieces = cds_pieces(
        Cds(client, origin.url or url, key, report), settings, step, archive.provider.attributes()
    )
    return _Plan(pieces, cds_cost(pieces), [])


def _plan_zarr(
    origin: Origin, settings: DownloadSettings, resolution: str, store: str, client: Client
) -> _Plan:
    source = ARCHIVES[origin.source]
    root = (origin.url or source.url).rstrip("/")
    archive = ZarrArchive(client, f"{root}/{store}", settings)
    pieces, indices, missing = analysis_pieces(
        archive, _attributes(source.provider, f"{root}/{store}")
    )
    costs = [archive.cost({archive.dims[0]: indices}, statics=True)] if pieces else []
    notes = [f"not complete in {origin.source}, left out: {_listed(missing)}"] if missing else []
    if origin.forecasts is not None:
        before = len(pieces)
        for path in forecast_stores(origin.forecasts, resolution):
            forecasts = ZarrArchive(client, f"{root}/{path}", settings)
            more, starts, leads = forecast_pieces(
                forecasts, _attributes(FORECASTS[origin.forecasts], f"{root}/{path}")
            )
            costs += (
                [
                    forecasts.cost(
                        dict(zip(forecasts.dims, (starts, leads), strict=True)), statics=False
                    )
                ]
                if more
                else []
            )
            pieces += [p for p in more if p.name not in {q.name for q in pieces}]
        if len(pieces) == before:
            raise UsageError(
                f"--forecasts {origin.forecasts}: none in the years "
                f"{','.join(map(str, settings.years))}"
            )
    disk = sum(p.layout.nbytes for p in pieces)
    return _Plan(pieces, Cost(sum(c[0] for c in costs), sum(c[1] for c in costs), disk), notes)


def _attributes(provider: Provider, store: str) -> dict[str, str]:
    return provider.attributes() | {"archive": store}


def _listed(months: Sequence[str]) -> str:
    return (
        ", ".join(months)
        if len(months) <= 6
        else f"{months[0]} … {months[-1]} ({len(months)} months)"
    )

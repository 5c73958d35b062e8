"""ERA5 and forecasts from public Zarr stores (WeatherBench 2, ARCO-ERA5), read over HTTP chunk by
chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr
import zarr

from phyda_cli import libproj  # noqa: F401  some versions of xarray load every plug-in on opening
from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.recognise import Source, find_axes, find_sources
from phyda_cli.formats.times import time_axis
from phyda_cli.names import STATICS, VARIABLES, canonical_coordinate, canonical_variable
from phyda_cli.settings.data import DownloadSettings
from phyda_cli.sources.field_file import Layout, write
from phyda_cli.sources.http import Client
from phyda_cli.sources.http_store import HttpStore
from phyda_cli.sources.pieces import Advance, Piece
from phyda_cli.sources.selection import columns_of, level_indices, month_times, months_of, rows_of

__all__ = ["ZarrArchive", "analysis_pieces", "forecast_pieces"]

_HOUR = np.timedelta64(1, "h")
Index = slice | np.ndarray | int


class ZarrArchive:
    """A store with what of it ``settings`` selects: rows, columns, levels and variables. Raises
    InputError and UsageError."""

    def __init__(self, client: Client, url: str, settings: DownloadSettings) -> None:
        self.client = client
        self.store = HttpStore(client, url)
        self.settings = settings
        try:
            self._group = zarr.open_group(self.store, mode="r", use_consolidated=True)
            self.dataset = xr.open_zarr(
                self.store, consolidated=True, chunks=None, decode_timedelta=True
            )
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise InputError(
                f"{url} is not a Zarr store with consolidated metadata: {error}"
            ) from error
        axes = find_axes(self.dataset, url, {})
        self._horizontal = (axes.latitude, axes.longitude)
        self._rows = rows_of(axes.grid.latitude, settings.area)
        columns, self.longitude = columns_of(axes.grid.longitude, settings.area)
        self._columns = axes.take[columns]
        self.latitude = axes.grid.latitude[self._rows]
        known = find_sources(self._one_time(), axes, url, {})[0]
        self.sources = {
            s.variable: s
            for s in reversed(known)
            if (s.level_dim is None) == VARIABLES[s.variable].surface and not s.relative
        }
        self.upper, self.surface = (
            tuple(v for v in settings.variables if VARIABLES[v].surface is flag)
            for flag in (False, True)
        )
        self.statics = tuple(v for v in STATICS if v in self.sources)
        missing = [v for v in settings.variables if v not in self.sources]
        if missing:
            offered = {c for n in self.dataset.data_vars if (c := canonical_variable(str(n)))}
            raise UsageError(
                f"--variables {','.join(missing)}: not in {url}, which has "
                f"{', '.join(sorted(offered))}"
            )
        times = time_axis(self.dataset.drop_vars(list(self.dataset.data_vars)), url)
        self.dims, self.valid, self.lead = times.dims, times.valid, np.asarray(times.lead)

    def _one_time(self) -> xr.Dataset:
        """What may be wanted (others may have units nobody knows), one entry along every dimension
        but levels and the grid's."""
        unwanted = [
            n
            for n in self.dataset.data_vars
            if canonical_variable(str(n)) not in (None, *self.settings.variables, *STATICS)
        ]
        others = [
            d
            for d in self.dataset.dims
            if d not in self._horizontal and canonical_coordinate(str(d)) != "level"
        ]
        return self.dataset.drop_vars(unwanted).isel({d: [0] for d in others})

    def layout(
        self, times: np.ndarray, attributes: dict[str, str], leads: np.ndarray | None = None
    ) -> Layout:
        """The file of ``times``, or of one initial time and ``leads`` [h]; static fields go with
        analyses."""
        statics = self.statics if leads is None else ()
        levels = np.array(self.settings.levels if self.upper else (), float)
        surface = tuple(v for v in self.surface if v not in statics)
        return Layout(
            times,
            levels,
            self.latitude,
            self.longitude,
            self.upper,
            surface,
            statics,
            attributes,
            leads,
        )

    def selection(self, source: Source, leading: Mapping[str, Index]) -> dict[str, Index]:
        """Index along every dimension of a variable."""
        out = {str(d): leading.get(str(d), 0) for d in self.dataset[source.name].dims}
        if source.level_dim is not None:
            assert source.levels is not None
            out[source.level_dim] = level_indices(source.levels / 100, self.settings.levels)
        return out | dict(zip(self._horizontal, (self._rows, self._columns), strict=True))

    def read(
        self, variable: str, leading: Mapping[str, Index], along: Sequence[str] = ()
    ) -> np.ndarray:
        """Values ([along,] [level,] lat, lon) float32 in canonical units at ``leading`` indices of
        the other dimensions."""
        source = self.sources[variable]
        chosen = {d: _as_slice(i) for d, i in self.selection(source, leading).items()}
        order = [*along, *([source.level_dim] if source.level_dim else []), *self._horizontal]
        try:
            values = self.dataset[source.name].isel(chosen).transpose(*order).values
        except (ValueError, RuntimeError) as error:  # bytes that do not decode
            raise InputError(
                f"{self.store}/{source.name} holds a damaged chunk: {error}"
            ) from error
        return (values * np.float32(source.scale) + np.float32(source.offset)).astype(
            np.float32, copy=False
        )

    def cost(self, leading: Mapping[str, Index], statics: bool) -> tuple[int, int]:
        """Requests and bytes to fetch everything at ``leading``, each variable's size judged by one
        of its chunks."""
        requests = transfer = 0
        for variable in (*self.upper, *self.surface, *(self.statics if statics else ())):
            source = self.sources[variable]
            at = (
                {d: np.ravel(np.asarray(i))[:1] for d, i in leading.items()}
                if variable in self.statics
                else leading
            )
            array = self._group[source.name]
            assert isinstance(array, zarr.Array)
            touched = [
                np.unique(np.atleast_1d(np.arange(n)[i]) // c)
                for i, n, c in zip(
                    self.selection(source, at).values(), array.shape, array.chunks, strict=True
                )
            ]
            count = int(np.prod([t.size for t in touched]))
            key = array.metadata.encode_chunk_key(tuple(int(t[t.size // 2]) for t in touched))
            requests += count
            transfer += count * self.store.size(f"{source.name}/{key}")
        return requests, transfer


def _as_slice(index: Index) -> Index:
    if isinstance(index, np.ndarray) and np.all(np.diff(index) == 1):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def analysis_pieces(
    archive: ZarrArchive, attributes: dict[str, str]
) -> tuple[list[Piece], np.ndarray, list[str]]:
    """A file for every month that is complete in the archive, the indices of all their times, and
    the months that are not."""
    (dim,) = archive.dims
    order = np.argsort(archive.valid, kind="stable")
    stop = archive.dataset.attrs.get("valid_time_stop")  # ARCO-ERA5's axis goes on beyond its data
    last = (
        archive.valid.max()
        if stop is None
        else np.datetime64(str(stop)[:10], "D") + 24 * _HOUR - _HOUR
    )
    pieces, indices, missing = [], [np.zeros(0, int)], []
    for year, month in months_of(archive.settings.years):
        times = month_times(year, month, archive.settings.hours)
        place = order[np.searchsorted(archive.valid, times, sorter=order).clip(0, order.size - 1)]
        if not np.array_equal(archive.valid[place], times) or times[-1] > last:
            missing.append(f"{year}-{month:02d}")
            continue
        layout = archive.layout(times, attributes)
        pieces.append(_piece(f"analysis_{year}-{month:02d}.nc", layout, archive, {}, dim, place))
        indices.append(place)
    return pieces, np.concatenate(indices), missing


def forecast_pieces(
    archive: ZarrArchive, attributes: dict[str, str]
) -> tuple[list[Piece], np.ndarray, np.ndarray]:
    """A file for every initial time in the years, and the indices of those times and of the leads.
    Raises UsageError for absent leads."""
    time, step = archive.dims
    leads, starts = archive.lead[0], archive.valid[:, 0] - archive.lead[:, 0].astype(int) * _HOUR
    wanted = np.array(archive.settings.leads, float)
    absent = [f"{h:g}" for h in wanted if h not in leads]
    if absent:
        raise UsageError(
            f"--leads {','.join(absent)}: not in {archive.store}, which has "
            f"{', '.join(f'{h:g}' for h in leads)}"
        )
    place = np.array([int(np.flatnonzero(leads == h)[0]) for h in wanted])
    chosen = np.flatnonzero(
        np.isin(starts.astype("datetime64[Y]").astype(int) + 1970, archive.settings.years)
    )
    pieces = []
    for i in chosen:
        layout = archive.layout(starts[i : i + 1].astype("datetime64[ns]"), attributes, wanted)
        pieces.append(
            _piece(
                f"forecast_{str(starts[i])[:13]}.nc", layout, archive, {time: int(i)}, step, place
            )
        )
    return pieces, chosen, place


def _piece(
    name: str,
    layout: Layout,
    archive: ZarrArchive,
    fixed: Mapping[str, Index],
    along: str,
    place: np.ndarray,
) -> Piece:
    def make(path: Path, advance: Advance) -> None:
        write(
            path,
            layout,
            partial(
                _fill,
                archive=archive,
                layout=layout,
                fixed=fixed,
                along=along,
                place=place,
                advance=advance,
            ),
        )

    return Piece(name, layout, make)


def _fill(
    file: netCDF4.Dataset,
    archive: ZarrArchive,
    layout: Layout,
    fixed: Mapping[str, Index],
    along: str,
    place: np.ndarray,
    advance: Callable[[int], None],
) -> None:
    """Copy block after block, the variables of a block at the same time."""
    for name in layout.statics:
        file[name][:] = archive.read(name, {**fixed, along: int(place[0])})
    size = layout.block
    pool = ThreadPoolExecutor(archive.client.settings.connections)
    try:
        for start in range(0, place.size, size):
            leading = {**fixed, along: place[start : start + size]}
            reads = {
                pool.submit(archive.read, name, leading, [along]): name
                for name in (*layout.upper, *layout.surface)
            }
            for done in as_completed(reads):
                values = done.result()
                file[reads[done]][start : start + size] = values
                advance(values.nbytes)
    except BaseException:
        archive.client.stop()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

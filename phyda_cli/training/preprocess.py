"""From downloaded analyses and forecasts to a training store: regrid, stack channels, find the pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.regrid import Regrid, regridder
from phyda_cli.names import Channel, canonical_coordinate, canonical_variable, parse_channel
from phyda_cli.training.store import STATICS, StoreWriter

__all__ = ["preprocess"]

BATCH = 64
Regridders = Callable[[xr.Dataset], Regrid]


def _open(path: Path) -> xr.Dataset:
    """Dataset under canonical names with level in hPa and dimensions (number, step, time, level, lat, lon) as present."""
    ds = xr.open_dataset(path, engine="netcdf4")
    coordinates = {str(n): canonical_coordinate(str(n)) for n in (*ds.dims, *ds.coords)}
    ds = ds.rename({n: c for n, c in coordinates.items() if c and n != c and c not in ds.variables and c not in ds.dims})
    variables = {str(n): canonical_variable(str(n)) for n in ds.data_vars}
    ds = ds.rename({n: c for n, c in variables.items() if c and n != c})
    if "level" in ds.coords and float(ds["level"].max()) > 2000:
        ds = ds.assign_coords(level=ds["level"] / 100)
    return ds


def _channel(ds: xr.Dataset, channel: Channel, path: Path) -> xr.DataArray:
    if channel.key in ds:
        return ds[channel.key]
    if channel.variable not in ds:
        raise InputError(f"{path}: no variable for channel {channel.key}; found {', '.join(map(str, ds.data_vars))}")
    array = ds[channel.variable]
    if channel.level is None:
        return array
    try:
        return array.sel(level=channel.level, method="nearest", tolerance=0.01)
    except KeyError:
        raise InputError(f"{path}: {channel.variable} has no level {channel.level:g} hPa; found {ds['level'].values.tolist()}") from None


def _stack(ds: xr.Dataset, channels: list[Channel], path: Path) -> np.ndarray:
    """(..., C, H, W) with the leading dimensions of the data."""
    arrays = [np.asarray(_channel(ds, c, path).transpose(..., "latitude", "longitude").values, np.float32) for c in channels]
    stacked = np.stack(arrays, axis=-3)
    if not np.isfinite(stacked).all():
        raise InputError(f"{path}: {int((~np.isfinite(stacked)).sum())} values are missing or not finite")
    return stacked


def _grid_of(ds: xr.Dataset) -> Grid:
    return Grid(ds["latitude"].values, ds["longitude"].values)


def _regridders(target: Grid) -> Regridders:
    """A function that gives the regridding of a file's own grid to ``target``, built once for each grid."""
    known: dict[bytes, Regrid] = {}

    def of(ds: xr.Dataset) -> Regrid:
        grid = _grid_of(ds)
        key = grid.latitude.tobytes() + grid.longitude.tobytes()
        if key not in known:
            known[key] = regridder(grid, target)
        return known[key]

    return of


def _static_fields(ds: xr.Dataset, remap: Regrid, target: Grid) -> dict[str, np.ndarray]:
    out = {}
    for name in STATICS:
        array = ds.get(name)
        extra = {d: 0 for d in array.dims if d not in ("latitude", "longitude")} if array is not None else {}
        out[name] = np.zeros(target.shape) if array is None else remap(array.isel(extra).values)
    return out


def _twin_pairs(forecast: np.ndarray, truth: int) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs among exchangeable states of one time: ``forecast`` (K,) members and the ``truth``, all of one model.

    Two members differ by the difference of two errors, so their difference counts with scale 1 / sqrt(2).
    """
    pairs, scale = [], []
    for f in forecast:
        pairs += [(f, truth), (truth, f)]
        scale += [1.0, 1.0]
    for i in forecast:
        for j in forecast:
            if i != j:
                pairs.append((i, j))
                scale.append(2**-0.5)
    return np.array(pairs), np.array(scale)


def _blocks(ds: xr.Dataset, dimension: str) -> Iterator[xr.Dataset]:
    for start in range(0, ds.sizes[dimension], BATCH):
        yield ds.isel({dimension: slice(start, start + BATCH)})


def preprocess(
    files: list[Path],
    out: Path,
    channels: tuple[str, ...],
    grid: Grid | None,
    pairs: str,
    lag_hours: int = 24,
    lag_scale: float = 1.0,
    span: tuple[np.datetime64, np.datetime64] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the training store ``out`` from NetCDF ``files``; returns the number of pairs.

    Files with a ``step`` dimension are forecasts, the others analyses. Each file is regridded from its own grid to
    ``grid``, or with None to that of the first analysis.
    ``pairs``: ``forecast`` (forecast against analysis), ``twin`` (the same, forecast and analysis exchangeable) or
    ``lagged`` (analysis ``lag_hours`` earlier as background, the difference times ``lag_scale``). ``span`` limits the
    valid times used. Raises InputError for unusable files, UsageError for impossible requests.
    """
    parsed = [parse_channel(c) for c in channels]
    opened = [(p, _open(p)) for p in files]
    analyses = [(p, d) for p, d in opened if "step" not in d.dims]
    forecasts = [(p, d) for p, d in opened if "step" in d.dims]
    if not analyses:
        raise InputError("no analysis file among the inputs (a file without a forecast step)")
    first = analyses[0][1]
    target = grid or _grid_of(first)
    regridders = _regridders(target)
    writer = StoreWriter(out, channels, target, _static_fields(first, regridders(first), target))
    index: dict[np.datetime64, int] = {}
    for path, ds in analyses:
        remap = regridders(ds)
        for block in _blocks(ds.transpose("time", ...), "time"):
            times = block["time"].values.astype("datetime64[s]")
            keep = np.ones(times.size, bool) if span is None else (times >= span[0]) & (times < span[1])
            if keep.any():
                ids = writer.append(remap(_stack(block.isel(time=keep), parsed, path)), times[keep])
                index |= dict(zip(times[keep], ids.tolist(), strict=True))
        report(f"{path.name}: {len(index)} analyses")
    if pairs == "lagged":
        table, scale, lead = _lagged(index, lag_hours, lag_scale)
    else:
        table, scale, lead = _forecast_pairs(forecasts, index, writer, regridders, parsed, pairs == "twin", report)
    kind = {"pairs_kind": pairs, "files": len(files), "source": str(first.attrs.get("source", ""))}
    writer.finish(table.reshape(-1, 2), scale, lead, kind)
    return int(scale.size)


def _lagged(index: dict[np.datetime64, int], hours: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lag = np.timedelta64(hours, "h")
    found = np.array([(index[t - lag], i) for t, i in index.items() if t - lag in index], dtype=np.int64)
    return found, np.full(len(found), scale), np.full(len(found), float(hours))


def _forecast_pairs(
    forecasts: list[tuple[Path, xr.Dataset]],
    index: dict[np.datetime64, int],
    writer: StoreWriter,
    regridders: Regridders,
    channels: list[Channel],
    exchangeable: bool,
    report: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tables, scales, leads = [np.zeros((0, 2), np.int64)], [np.zeros(0)], [np.zeros(0)]
    for count, (path, ds) in enumerate(forecasts, 1):
        if "member" not in ds.dims:
            ds = ds.expand_dims("member")
        remap = regridders(ds)
        for step in range(ds.sizes["step"]):
            one = ds.isel(step=step)
            valid = (one["time"].values + one["step"].values).astype("datetime64[s]")
            if valid not in index:
                continue
            fields = remap(_stack(one.transpose("member", ...), channels, path))
            ids = writer.append(fields, np.repeat(valid, fields.shape[0]))
            truth = index[valid]
            table, scale = _twin_pairs(ids, truth) if exchangeable else (np.array([(i, truth) for i in ids]), np.ones(ids.size))
            tables.append(table)
            scales.append(scale)
            leads.append(np.full(scale.size, float(one["step"].values / np.timedelta64(1, "h"))))
        if count % 20 == 0 or count == len(forecasts):
            report(f"{count} of {len(forecasts)} forecast files")
    return np.concatenate(tables), np.concatenate(scales), np.concatenate(leads)

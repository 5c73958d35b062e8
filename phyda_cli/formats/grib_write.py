"""An analysis as GRIB: the messages of the background with new values, everything else in them as
it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xarray as xr

from phyda_cli import libproj  # noqa: F401  before ecCodes
from phyda_cli.errors import OutputError, UsageError
from phyda_cli.files.publish import publish
from phyda_cli.formats.background import Background
from phyda_cli.formats.grib import GribFrames, open_grib_series, places_of
from phyda_cli.formats.grib_messages import ECCODES, GribMessage, fields_in_order, flattened
from phyda_cli.formats.inputs import file_kind

# isort: split
import eccodes
from cfgrib.messages import MISSING_VAUE_INDICATOR, Message, multi_enabled

__all__ = ["check_background", "write_grib"]

_ANALYSIS = 0  # GRIB2 code tables 1.4 and 4.3
_MARS_ANALYSIS = 2  # ECMWF's type an
_CONSTANT_BITS = 16  # for a field that had no bits because it was constant
_MOST_BITS = 24  # of float32, which the values were decoded to
_SECTION = 4  # of GRIB2, where the second field of a message begins

_Place = tuple[int, int]  # offset of a GRIB message, and number of the field in it


def check_background(background: Background) -> None:
    """Raise UsageError where there are no GRIB messages that say what ``background`` is."""
    if background.frame is None:
        reason = "the background is the mean of several"
        hint = "name the output .nc, or give one member with --background and --member"
    elif file_kind(background.path) != "grib":
        reason = f"{background.path} has none"
        hint = "name the output .nc, or give a GRIB file with --background"
    elif background.fields.time != background.source["time"].values[0]:
        reason = "those of the background state another time than --valid-time"
        hint = "name the output .nc"
    else:
        return
    raise UsageError(f"GRIB is written into the messages of the background: {reason}", hint=hint)


def write_grib(
    path: Path | str, background: Background, analysis: xr.Dataset, overwrite: bool = False
) -> None:
    """Write the fields of ``analysis``, in the layout of ``background.source``, into the messages
    of the background's file.

    Variables that the analysis leaves as they are keep their messages byte for byte. The others
    keep packing, grid, levels, dates and members, and are marked as an analysis on every level, so
    that readers find one variable; where a level does not change, its values stay bit for bit. A
    file of one time and
    member keeps all its messages; of a larger one only those of the frame are written. Raises
    UsageError for a background that is no frame of a GRIB file, OutputError when the file does not
    read back.
    """
    check_background(background)
    assert background.frame is not None
    with ECCODES:
        frames = open_grib_series(background.path, channels=False).frames
        assert isinstance(frames, GribFrames)
        own = frames.messages(background.frame)
        changed = _changed(own, background.source, analysis)
        names = {(m.offset, m.part): name for m, name, _ in places_of(own)}
        analysed = {names[place] for place in changed}
        marked = {place for place, name in names.items() if name in analysed}
        kept = None if len(frames.frames) == 1 else {m.offset for m in own}
        count = 0

        def check(written: Path) -> None:
            if sum(1 for _ in fields_in_order(written)) != count:
                raise OutputError(f"cannot write {path}: it does not read back as {count} fields")

        with publish(path, overwrite, check) as temporary, open(temporary, "wb") as out:
            count = _write_messages(out, background.path, changed, marked, kept)


def _changed(
    messages: Sequence[GribMessage], before: xr.Dataset, after: xr.Dataset
) -> dict[_Place, np.ndarray]:
    """The new values (H, W) of each field that differs."""
    found = {}
    for m, name, level in places_of(messages):
        at = {"time": 0, m.level_type: level}
        old, new = (
            d[name].isel({k: i for k, i in at.items() if k in d[name].dims}).values
            for d in (before, after)
        )
        if not np.array_equal(old, new, equal_nan=True):
            found[m.offset, m.part] = new
    return found


def _write_messages(
    out: BinaryIO,
    source: Path,
    changed: Mapping[_Place, np.ndarray],
    marked: set[_Place],
    kept: set[int] | None,
) -> int:
    """Write the messages that start at ``kept`` (None: all), with the values of ``changed``, those
    of ``marked`` as an analysis; return how many fields they are."""
    sizes = Counter(offset for offset, _, _ in fields_in_order(source))
    bounds = eccodes.codes_extract_offsets_sizes(str(source), eccodes.CODES_PRODUCT_GRIB)
    lengths: dict[int, int] = dict(bounds)
    written = 0
    with open(source, "rb") as file, open(source, "rb") as raw:
        for offset, size in sizes.items():
            if kept is not None and offset not in kept:
                continue
            written += size
            touched = [i for i in range(size) if (offset, i) in marked]
            if not touched:
                raw.seek(offset)
                out.write(raw.read(lengths[offset]))
                continue
            fields = _fields_at(file, offset, size)
            for i in touched:
                if (offset, i) in changed:
                    _fill(fields[i], changed[offset, i])
                _mark(fields[i])
            _put(out, fields)
    return written


def _fields_at(file: BinaryIO, offset: int, size: int) -> list[Message]:
    """The ``size`` fields of the GRIB message at ``offset``."""
    with multi_enabled(file):
        file.seek(offset)
        return [Message.from_file(file, errors="raise") for _ in range(size)]


def _fill(message: Message, values: np.ndarray) -> None:
    """New ``values`` (H, W) in the order of ``grib_messages.values_of_message``."""
    handle = message.codes_id
    absent = np.isnan(values)
    if absent.any() and not message.message_get("bitmapPresent", default=0):
        eccodes.codes_set(handle, "bitmapPresent", 1)
    bits = _bits(message, values)
    if bits is not None:
        eccodes.codes_set(handle, "bitsPerValue", bits)
    packed = np.where(absent, MISSING_VAUE_INDICATOR, values.astype(np.float64))
    eccodes.codes_set_values(handle, flattened(message, packed))


def _mark(message: Message) -> None:
    """Say that ``message`` is of an analysis."""
    handle = message.codes_id
    if message.message_get("edition", default=0) == 2:
        eccodes.codes_set(handle, "typeOfProcessedData", _ANALYSIS)
        eccodes.codes_set(handle, "typeOfGeneratingProcess", _ANALYSIS)
    if message.message_get("marsType", default=None) is not None:
        eccodes.codes_set(handle, "marsType", _MARS_ANALYSIS)


def _bits(message: Message, values: np.ndarray) -> int | None:
    """Bits with which ``values`` are stored no coarser than those of ``message`` were; None for a
    packing that has no bits to choose.

    ecCodes chooses the step by the range and the bits. NCEP's messages have a decimal step, and
    those of complex packing count the bits of group references: kept as they are, these bits would
    store temperatures to 0.4 K instead of 0.1 K.
    """
    own, binary, decimal = (
        message.message_get(key, default=None)
        for key in ("bitsPerValue", "binaryScaleFactor", "decimalScaleFactor")
    )
    if own is None or binary is None or decimal is None:
        return None
    if own == 0:
        return _CONSTANT_BITS
    span = float(np.nanmax(values)) - float(np.nanmin(values))
    needed = int(np.ceil(np.log2(span / (2.0**binary * 10.0**-decimal) + 1)))
    simple = message.message_get("packingType", default="") == "grid_simple"
    return min(max(needed, own if simple else 1), _MOST_BITS)


def _put(out: BinaryIO, fields: Sequence[Message]) -> None:
    """One GRIB message of all ``fields``."""
    if len(fields) == 1:
        eccodes.codes_write(fields[0].codes_id, out)
        return
    several = eccodes.codes_grib_multi_new()
    try:
        for i, message in enumerate(fields):
            eccodes.codes_grib_multi_append(message.codes_id, _SECTION if i else 0, several)
        eccodes.codes_grib_multi_write(several, out)
    finally:
        eccodes.codes_grib_multi_release(several)

"""The size a classic NetCDF file must have: the netCDF library reads zeros, without a word, beyond
the end of a truncated one, and may never return from a damaged header."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from phyda_cli.errors import InputError

__all__ = ["classic_size", "reject_truncated"]

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_MAX_COUNT = 1 << 31


class _Header:
    """Sequential reader of the header's big-endian fields; ``wide`` counts are those of CDF-5."""

    def __init__(self, file: BinaryIO, wide: bool) -> None:
        self.file, self.wide = file, wide

    def number(self, wide: bool = False) -> int:
        return int(struct.unpack(">Q" if wide else ">I", self.file.read(8 if wide else 4))[0])

    def count(self) -> int:
        return self.number(self.wide)

    def skip_padded(self, size: int) -> None:
        if size > _MAX_COUNT:
            raise ValueError("damaged header")
        self.file.seek(-(-size // 4) * 4, 1)

    def list_length(self) -> int:
        self.number()  # the tag of the list
        return self.count()

    def skip_attributes(self) -> None:
        for _ in range(self.list_length()):
            self.skip_padded(self.count())
            kind = self.number()
            self.skip_padded(self.count() * _TYPE_BYTES[kind])


def classic_size(path: Path) -> int:
    """Bytes a NetCDF classic, 64-bit-offset or CDF-5 file needs for what its header announces
    (NetCDF file format, appendix B).

    Raises ValueError, KeyError or struct.error when the header itself is cut or damaged. A file
    being streamed counts as without records.
    """
    with open(path, "rb") as file:
        version = file.read(4)[3]
        header = _Header(file, version == 5)
        records = header.count()
        records = 0 if records in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else records
        sizes = []
        for _ in range(header.list_length()):
            header.skip_padded(header.count())
            sizes.append(header.count())
        header.skip_attributes()
        fixed, recorded = (
            [file.tell()],
            [],
        )  # ends of fixed variables; (begin, bytes) of one record of the others
        for _ in range(header.list_length()):
            header.skip_padded(header.count())
            shape = [sizes[header.count()] for _ in range(header.count())]
            header.skip_attributes()
            width = _TYPE_BYTES[header.number()]
            header.count()  # the announced size, which overflows for large variables
            begin = header.number(version != 1)
            if shape and shape[0] == 0:
                recorded.append((begin, math.prod(shape[1:]) * width))
            else:
                fixed.append(begin + math.prod(shape) * width)
    stride = (
        recorded[0][1] if len(recorded) == 1 else sum(-(-size // 4) * 4 for _, size in recorded)
    )
    ends = [begin + (records - 1) * stride + size for begin, size in recorded if records]
    return max(fixed + ends)


def reject_truncated(path: Path, name: str) -> None:
    """Raise InputError when ``path``, called ``name``, is a classic NetCDF file with a damaged
    header, or shorter than that announces."""
    with open(path, "rb") as file:
        if file.read(3) != b"CDF":
            return
    size = path.stat().st_size
    try:
        expected = classic_size(path)
    except (ValueError, LookupError, struct.error) as error:
        raise InputError(
            f"{name} is truncated or damaged: its header ends early",
            hint="copy or produce the file again",
        ) from error
    if size < expected:
        raise InputError(
            f"{name} is truncated: it has {size} bytes, its header announces {expected}",
            hint="copy or produce the file again",
        )

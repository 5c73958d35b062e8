"""BUFR messages in a file: where they begin and end, what they are about, and their elements in
order, decoded by ecCodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from phyda_cli import libproj  # noqa: F401  before ecCodes
from phyda_cli.errors import InputError
from phyda_cli.observations.report import Problem

__all__ = ["Decoder", "Element", "Message", "find_message", "split"]

Element = tuple[str, str | float | None]
"""ecCodes' name of an element and its value in the table's units, None where missing."""

_MISSING = 2147483647  # ecCodes' missing whole number; its missing number is -1e100
_LOCAL = "ident"  # of ECMWF's own section
_IDENTITY = (
    "numberOfSubsets",
    "compressedData",
    "masterTableNumber",
    "masterTablesVersionNumber",
    "localTablesVersionNumber",
    "bufrHeaderCentre",
    "bufrHeaderSubCentre",
)
_REPLICATIONS = (
    "delayedDescriptorReplicationFactor",
    "shortDelayedDescriptorReplicationFactor",
    "extendedDelayedDescriptorReplicationFactor",
)
_OBSERVED = 10  # classes of elements before it are coordinates
_ABOUT_DATA = (25, 31, 33, 35)  # classes of processing, replication, quality and monitoring
_PERIODS = {  # descriptors called timePeriod: seconds in their unit; whether it is a displacement
    22: (30 * 86400.0, False),
    23: (86400.0, False),
    24: (3600.0, False),
    25: (60.0, False),
    26: (1.0, False),
    73: (86400.0, True),
    74: (3600.0, True),
    75: (60.0, True),
    86: (1.0, True),
}


_ELEMENTS: dict[str, tuple[bool, bool]] = {}


@dataclass(frozen=True)
class Message:
    """One complete message: its number in the file from 1, its data category (BUFR table A), its
    international sub-category (255 where it has none) and its bytes."""

    number: int
    category: int
    subcategory: int
    content: bytes


def find_message(content: bytes, start: int = 0) -> int:
    """Where the next BUFR message begins in ``content``, -1 where there is none: the word, a known
    edition and a length that leads to its end, or to the end of the file."""
    start = content.find(b"BUFR", start)
    while start >= 0:
        end = start + int.from_bytes(content[start + 4 : start + 7], "big")
        edition = content[start + 7 : start + 8]
        if edition in (b"\2", b"\3", b"\4") and (content[end - 4 : end] == b"7777"):
            return start
        start = content.find(b"BUFR", start + 4)
    return -1


def split(content: bytes, file: str) -> tuple[list[Message], list[Problem]]:
    """The messages in ``content``, whatever stands between them, and those whose length or end is
    damaged.

    Raises InputError when the file ends within a message.
    """
    messages: list[Message] = []
    lost: list[Problem] = []
    start, number = content.find(b"BUFR"), 0
    while start >= 0:
        number += 1
        end = start + int.from_bytes(content[start + 4 : start + 7], "big")
        following = content.find(b"BUFR", start + 4)
        if content[end - 4 : end] == b"7777" and end - start > 22:
            modern = content[start + 7] >= 4
            category = content[start + (18 if modern else 16)]
            subcategory = content[start + 19] if modern else 255
            messages.append(Message(number, category, subcategory, content[start:end]))
            start = content.find(b"BUFR", end)
        elif following < 0 and end > len(content):
            raise InputError(
                f"{file}: the BUFR content cannot be decoded: message {number} is cut off",
                hint="is the file complete?",
            )
        else:
            lost.append(
                Problem(file, number, "a BUFR message whose length does not lead to its end")
            )
            start = following
    return messages, lost


class Decoder:
    """Elements of the reports in messages, in their order: those in ``wanted``, periods as
    ``timePeriod`` or ``timeDisplacement`` in seconds, and the ``ident`` of ECMWF's own section.

    ``unread`` counts the values of all other elements that observe something. Messages of one
    template with the same numbers of replications have the same keys: they are looked up once.
    """

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        self._layouts: dict[tuple[Any, ...], tuple[list[_Layout], list[str]]] = {}

    def reports(self, content: bytes) -> Iterator[list[Element]]:
        """The reports of a message. Raises whatever ecCodes raises for one that it cannot
        decode."""
        import eccodes

        handle = eccodes.codes_new_from_message(content)
        try:
            eccodes.codes_set(handle, "skipExtraKeyAttributes", 1)
            eccodes.codes_set(handle, "unpack", 1)
            header: list[Element] = []
            if eccodes.codes_is_defined(handle, _LOCAL):
                header = [(_LOCAL, eccodes.codes_get(handle, _LOCAL, str))]
            signature = _signature(handle)
            compressed = signature[0] > 1 and signature[1]
            size = signature[0] if compressed else 1
            if signature not in self._layouts:
                self._layouts[signature] = _template(handle, self._wanted, size)
            layouts, keys = self._layouts[signature]
            rows = _numbers(handle, keys, size)
            texts = {key: _texts(handle, key, size) for one in layouts for key in one.texts}
            for i in range(size):
                for layout in layouts:
                    yield header + layout.elements(rows[i], {k: v[i] for k, v in texts.items()})
        finally:
            eccodes.codes_release(handle)

    @property
    def unread(self) -> Counter[str]:
        """How many values each element has that is not in ``wanted``."""
        counts: Counter[str] = Counter()
        for layout in (one for several, _ in self._layouts.values() for one in several):
            for name, n in zip(layout.unread, layout.present, strict=True):
                counts[name] += int(n)
        return +counts


@dataclass
class _Layout:
    """Where the elements of one report stand among the values of its message: name, index and
    factor of numbers, key of texts (index -1). ``unread`` elements stand at ``others``; ``present``
    counts their values."""

    wanted: list[tuple[str, int, float, str]]
    unread: list[str]
    others: np.ndarray
    present: np.ndarray

    @property
    def texts(self) -> list[str]:
        return [key for _, index, _, key in self.wanted if index < 0]

    def elements(self, values: np.ndarray, texts: dict[str, str]) -> list[Element]:
        """The wanted elements of a report."""
        self.present += np.abs(values[self.others]) < _MISSING
        numbers = values.tolist()
        found: list[Element] = []
        for name, index, factor, key in self.wanted:
            if index < 0:
                found.append((name, texts[key]))
            else:
                number = numbers[index]
                found.append((name, number * factor if abs(number) < _MISSING else None))
        return found


def _signature(handle: int) -> tuple[Any, ...]:
    """What the keys of a message follow from: number of subsets, whether they are compressed,
    tables, template and replications."""
    import eccodes

    single = tuple(eccodes.codes_get(handle, key, int) for key in _IDENTITY)
    arrays = (
        tuple(eccodes.codes_get_array(handle, key, int))
        for key in ("unexpandedDescriptors", *_REPLICATIONS)
        if eccodes.codes_is_defined(handle, key)
    )
    return single + tuple(arrays)


def _template(handle: int, wanted: frozenset[str], size: int) -> tuple[list[_Layout], list[str]]:
    """The layout of each report of a message (of all together where they are compressed), and the
    keys of its numbers, none where ecCodes gives all of them at once in the order of the keys."""
    every = _keys(handle)
    reports = [[key for key in keys if "->" not in key] for keys in every]
    plain = [key for keys in reports for key in keys]
    together, numbers = (_numbers(handle, keys, size)[0] for keys in ([], plain))
    starts = np.cumsum([0, *map(len, every)])  # what qualifies other values ("->") comes last
    pairs = list(zip(reports, starts.tolist(), strict=False))
    indexes = [i for keys, start in pairs for i in range(start, start + len(keys))]
    aligned = starts[-1] == together.size and bool(
        (np.isnan(numbers) | (together[indexes] == numbers)).all()
    )
    if not aligned:
        pairs = list(zip(reports, np.cumsum([0, *map(len, reports)]).tolist(), strict=False))
    layouts = [_layout(handle, keys, start, wanted) for keys, start in pairs]
    return layouts, [] if aligned else plain


def _layout(handle: int, keys: list[str], start: int, wanted: frozenset[str]) -> _Layout:
    """Where the ``keys`` of a report stand, the first one at ``start``."""
    read: list[tuple[str, int, float, str]] = []
    others: dict[int, str] = {}
    for index, key in enumerate(keys, start):
        name = key.rpartition("#")[2]
        if name == key:  # an operator, which has no rank
            continue
        text, observed = _element(handle, key, name)
        if name not in wanted:
            if observed:
                others[index] = name
        elif text:
            read.append((name, -1, 1.0, key))
        else:
            read.append(_named(handle, key, name, index))
    indexes = np.array(list(others), int)
    return _Layout(read, list(others.values()), indexes, np.zeros(len(others), int))


def _element(handle: int, key: str, name: str) -> tuple[bool, bool]:
    """Whether an element is a text, and whether it is an observation; looked up once for each."""
    import eccodes

    if name not in _ELEMENTS:
        text = eccodes.codes_get_native_type(handle, key) is str
        about = eccodes.codes_get(handle, f"{key}->code", int) // 1000
        _ELEMENTS[name] = text, about >= _OBSERVED and about not in _ABOUT_DATA
    return _ELEMENTS[name]


def _numbers(handle: int, keys: list[str], size: int) -> np.ndarray:
    """Numbers of ``keys``, NaN for texts and operators, or all of the message: (size, numbers)."""
    import eccodes

    if not keys:
        found: np.ndarray = eccodes.codes_get_double_array(handle, "numericValues")
        return found.reshape(size, -1)
    columns = []
    for key in keys:
        name = key.rpartition("#")[2]
        if name == key or _element(handle, key, name)[0]:
            columns.append(np.full(size, np.nan))
        elif size == 1:
            columns.append(np.array([eccodes.codes_get_double(handle, key)]))
        else:
            columns.append(np.broadcast_to(eccodes.codes_get_double_array(handle, key), size))
    return np.stack(columns, axis=1)


def _keys(handle: int) -> list[list[str]]:
    """The keys of the data section in order, of each subset."""
    import eccodes

    reports: list[list[str]] = []
    iterator = eccodes.codes_bufr_keys_iterator_new(handle)
    try:
        while eccodes.codes_bufr_keys_iterator_next(iterator):
            key = eccodes.codes_bufr_keys_iterator_get_name(iterator)
            if key.rpartition("#")[2] == "subsetNumber" or key == "unexpandedDescriptors":
                reports.append([])
            elif reports:
                reports[-1].append(key)
    finally:
        eccodes.codes_bufr_keys_iterator_delete(iterator)
    return [keys for keys in reports if keys]


def _texts(handle: int, key: str, count: int) -> list[str]:
    """A text of each subset of a compressed message."""
    import eccodes

    texts = list(eccodes.codes_get_string_array(handle, key))
    return texts * count if len(texts) == 1 else texts


def _named(handle: int, key: str, name: str, index: int) -> tuple[str, int, float, str]:
    """``timePeriod`` stands for descriptors of different units: here it is in seconds, and a
    displacement has a name of its own."""
    if name != "timePeriod":
        return name, index, 1.0, key
    import eccodes

    code = eccodes.codes_get(handle, f"{key}->code", int)
    seconds, displaced = _PERIODS.get(code - 4000, (1.0, True))
    return "timeDisplacement" if displaced else name, index, seconds, key

"""BUFR messages in a file: where they begin and end, what they are about, and their elements in
order, decoded by ecCodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.observations.report import Problem

__all__ = ["Element", "Message", "find_message", "split", "subsets"]

Element = tuple[str, str | float | None]
"""ecCodes' name of an element and its value in the table's units, None where missing."""

_TEXTS_END = 2147483647  # ecCodes' missing whole number
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


def subsets(content: bytes, wanted: frozenset[str], local: str) -> Iterator[list[Element]]:
    """The elements of each report in a message, in their order: those in ``wanted``, periods as
    ``timePeriod`` or ``timeDisplacement`` in seconds, and the ``local`` key of the header.

    Raises whatever ecCodes raises for a message that it cannot decode.
    """
    import eccodes

    handle = eccodes.codes_new_from_message(content)
    try:
        eccodes.codes_set(handle, "skipExtraKeyAttributes", 1)
        eccodes.codes_set(handle, "unpack", 1)
        header: list[Element] = []
        if eccodes.codes_is_defined(handle, local):
            header = [(local, eccodes.codes_get(handle, local, str))]
        count = eccodes.codes_get(handle, "numberOfSubsets")
        if count > 1 and eccodes.codes_get(handle, "compressedData"):
            columns = list(_arrays(handle, wanted, count))
            for i in range(count):
                yield header + [(name, values[i]) for name, values in columns]
            return
        for report in _in_order(handle, wanted):
            yield header + report
    finally:
        eccodes.codes_release(handle)


def _in_order(handle: int, wanted: frozenset[str]) -> list[list[Element]]:
    """Elements of the subsets of a message that is not compressed."""
    reports: list[list[Element]] = [[]]
    for key, name in _keys(handle):
        if name == "subsetNumber" and reports[-1]:
            reports.append([])
        elif name in wanted:
            reports[-1].append(_named(handle, key, name, _value(handle, key, name)))
    return reports


def _arrays(
    handle: int, wanted: frozenset[str], count: int
) -> Iterator[tuple[str, list[str | float | None]]]:
    """Elements of a compressed message with their value in each of ``count`` subsets."""
    import eccodes

    for key, name in _keys(handle):
        if name not in wanted:
            continue
        text = eccodes.codes_get_native_type(handle, key) is str
        if text:
            values = list(eccodes.codes_get_string_array(handle, key))
        else:
            values = [_number(v) for v in eccodes.codes_get_double_array(handle, key)]
        if len(values) == 1:
            values *= count
        named = [_named(handle, key, name, value) for value in values]
        yield named[0][0], [value for _, value in named]


def _keys(handle: int) -> Iterator[tuple[str, str]]:
    """The keys of the data section in order, and the element that each is of."""
    import eccodes

    iterator = eccodes.codes_bufr_keys_iterator_new(handle)
    try:
        while eccodes.codes_bufr_keys_iterator_next(iterator):
            key = eccodes.codes_bufr_keys_iterator_get_name(iterator)
            if "->" not in key:
                yield key, key.rpartition("#")[2]
    finally:
        eccodes.codes_bufr_keys_iterator_delete(iterator)


def _value(handle: int, key: str, name: str) -> str | float | None:
    import eccodes

    value: Any = eccodes.codes_get(handle, key)
    return value if isinstance(value, str) else _number(float(value))


def _number(value: float) -> float | None:
    return None if not np.isfinite(value) or abs(value) >= _TEXTS_END else float(value)


def _named(handle: int, key: str, name: str, value: str | float | None) -> Element:
    """``timePeriod`` stands for descriptors of different units: here it is in seconds, and a
    displacement has a name of its own."""
    if name != "timePeriod":
        return name, value
    import eccodes

    code = eccodes.codes_get(handle, f"{key}->code", int)
    seconds, displaced = _PERIODS.get(code - 4000, (1.0, True))
    own = "timeDisplacement" if displaced else name
    return own, value * seconds if isinstance(value, float) else None

"""BUFR messages in a file: where they begin and end, what they are about, and their rows of values
through pdbufr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.report import Problem

__all__ = ["Message", "rows", "split"]

_COORDINATE_CLASSES = 9999  # descriptors of classes 0 to 9 give the place of the values that follow


@dataclass(frozen=True)
class Message:
    """One complete message: its number in the file from 1, its data category (BUFR table A), and
    its bytes."""

    number: int
    category: int
    content: bytes


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
        if content[end - 4 : end] == b"7777" and end - start > 20:
            category = content[start + (18 if content[start + 7] >= 4 else 16)]
            messages.append(Message(number, category, content[start:end]))
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


def rows(
    messages: Sequence[Message], columns: Sequence[str], file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """One row for each level or report of ``messages`` with those of ``columns`` that occur and
    ``number``, and what failed to decode."""
    from pdbufr import stream_bufr

    found: list[dict[str, Any]] = []
    queue = _Queue(messages, file)
    while queue.left:
        try:
            for row in stream_bufr(queue, columns=columns, required_columns=False):
                found.append(row | {"number": queue.number})
        except (
            Exception
        ) as error:  # ecCodes and pdbufr raise many kinds, all of them about the message at hand
            queue.lost.append(
                Problem(file, queue.number, f"a BUFR message that cannot be decoded: {error}")
            )
    failed = {p.row for p in queue.lost}
    table = pd.DataFrame.from_records([r for r in found if r["number"] not in failed])
    return table.reindex(columns=["number", *columns]), queue.lost


class _Queue:
    """Decoded messages one after the other; those that cannot be unpacked go to ``lost``."""

    def __init__(self, messages: Sequence[Message], file: str) -> None:
        self.left = list(reversed(messages))
        self.file = file
        self.number = 0
        self.lost: list[Problem] = []

    def __iter__(self) -> Iterator[_Decoded]:
        while self.left:
            message = self.left.pop()
            self.number = message.number
            try:
                decoded = _Decoded(message.content)
            except Exception as error:  # as above
                self.lost.append(
                    Problem(
                        self.file, message.number, f"a BUFR message that cannot be decoded: {error}"
                    )
                )
            else:
                yield decoded


class _Decoded:
    """An unpacked message as the mapping that pdbufr reads."""

    def __init__(self, content: bytes) -> None:
        import eccodes

        self._codes = eccodes
        self._handle = eccodes.codes_new_from_message(content)
        try:
            eccodes.codes_set(self._handle, "skipExtraKeyAttributes", 1)
            eccodes.codes_set(self._handle, "unpack", 1)
        except Exception:
            eccodes.codes_release(self._handle)
            raise

    def __enter__(self) -> _Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        self._codes.codes_release(self._handle)

    def __iter__(self) -> Iterator[str]:
        iterator = self._codes.codes_bufr_keys_iterator_new(self._handle)
        try:
            while self._codes.codes_bufr_keys_iterator_next(iterator):
                yield self._codes.codes_bufr_keys_iterator_get_name(iterator)
        finally:
            self._codes.codes_bufr_keys_iterator_delete(iterator)

    def __getitem__(self, key: str) -> Any:
        try:
            if self._codes.codes_get_size(self._handle, key) > 1:
                return self._codes.codes_get_array(self._handle, key)
            return self._codes.codes_get(self._handle, key)
        except self._codes.KeyValueNotFoundError as error:
            raise KeyError(key) from error

    def __setitem__(self, key: str, value: Any) -> None:
        """pdbufr asks to unpack; that is done."""

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def is_coord(self, key: str) -> bool:
        return self._codes.codes_get(self._handle, f"{key}->code", int) <= _COORDINATE_CLASSES

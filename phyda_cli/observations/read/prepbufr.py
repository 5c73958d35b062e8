"""NCEP prepBUFR: BUFR whose tables come inside the file (messages of category 11), read without
ecCodes, which does not know them.

A table message holds entries as text: table A (mnemonics of message types), B (elements) and D
(sequences). Every report begins with its length in bytes. Within a level each quantity is a stack
of events, the newest first: its value, quality mark and program code. Sources: NCEPLIBS-bufr,
docs/dx_tables.md and src/dxtable.F90 (widths of the entries).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr_messages import Message
from phyda_cli.observations.read.levels import placed
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import Note, Problem, ReadResult
from phyda_cli.observations.table import QC

__all__ = ["read_prepbufr"]

# message types: whether they state levels
_READ = {"ADPUPA": True, "ADPSFC": False, "SFCSHP": False, "AIRCFT": True, "AIRCAR": True}
_REPLICATIONS = {360001: 16, 360002: 8, 360003: 8, 360004: 1}  # bits of the count
_HIGHEST_MARK = 3  # NCEP's quality marks 0 to 3 may be used
_VIRTUAL = 8.0  # program code of the step that turns temperature into virtual temperature
_QUANTITIES = {  # event mnemonics: value, mark; factor, offset
    "t": ("TOB", "TQM", 1.0, 273.15),
    "q": ("QOB", "QQM", 1e-6, 0.0),
    "u": ("UOB", "WQM", 1.0, 0.0),
    "v": ("VOB", "WQM", 1.0, 0.0),
    "z": ("ZOB", "ZQM", GRAVITY, 0.0),
}
_DEEPEST = 32  # sequences within sequences
_MOST = 200_000  # values of one report


@dataclass
class _Tables:
    """What the file says of its own messages: sequences of message types, elements, sequences."""

    types: dict[int, str] = field(default_factory=dict)  # descriptor of the sequence → mnemonic
    elements: dict[int, tuple[str, bool, int, int, int]] = field(default_factory=dict)
    sequences: dict[int, list[int]] = field(default_factory=dict)


def read_prepbufr(messages: Sequence[Message], file: str) -> ReadResult:
    """Observations in the ``messages`` of a file with tables of its own: soundings (ADPUPA),
    surface reports (ADPSFC, SFCSHP) and aircraft (AIRCFT, AIRCAR) of a prepBUFR file.

    Each quantity has the value of its newest event; a quality mark above 3 rejects it (11), and a
    temperature that is virtual is ``tv``. A row of the account is a level. Raises InputError when
    the file is another of NCEP's, or its tables cannot be read.
    """
    tables = _Tables()
    rows: list[dict[str, float | str]] = []
    lost: list[Problem] = []
    others: Counter[str] = Counter()
    for message in messages:
        try:
            section = _Section(message.content)
            if message.category == 11:
                _learn(tables, section)
                continue
            kind = next((tables.types[d] for d in section.descriptors if d in tables.types), "?")
            if kind in _READ:
                found = [
                    row
                    for report in _reports(section, tables)
                    for row in _rows(report, kind, section.cycle, message.number)
                ]
                rows += found
            else:
                others[kind] += 1
        except (ValueError, IndexError, KeyError, RecursionError) as error:
            reason = f"a message of NCEP's own tables that cannot be decoded: {error!r}"
            lost.append(Problem(file, message.number, reason))
    if not rows:
        _refuse(file, others, lost)
    notes = [Note(file, "layout: NCEP prepBUFR")]
    notes += [Note(file, f"messages of type {kind} are not read", n) for kind, n in others.items()]
    return _table(rows, file, lost, notes)


def _refuse(file: str, others: Counter[str], lost: Sequence[Problem]) -> None:
    kinds = ", ".join(f"{n} of {kind}" for kind, n in others.most_common(6)) or "none that is known"
    first = f"; {lost[0].reason}" if lost else ""
    raise InputError(
        f"{file} is BUFR with its own tables inside, as NCEP writes prepBUFR and its dumps; it "
        f"holds no report that is read (message types: {kinds}){first}",
        hint=f"{', '.join(_READ)} of a prepBUFR file are read; convert a dump to IODA (bufr2ioda "
        "of ioda-converters), or decode it with NCEPLIBS-bufr and give a CSV",
    )


class _Section:
    """The parts of a message that are needed: its descriptors, number of reports, bytes of data,
    and the time of its cycle."""

    def __init__(self, content: bytes) -> None:
        edition = content[7]
        start = 8
        one = content[start:]
        length = int.from_bytes(one[:3], "big")
        modern = edition >= 4
        optional = one[9 if modern else 7] & 128
        year = int.from_bytes(one[15:17], "big") if modern else _century(one[12])
        when = one[17:21] if modern else one[13:17]
        month, day, hour, minute = (int(v) for v in when)
        self.cycle = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}")
        start += length
        if optional:
            start += int.from_bytes(content[start : start + 3], "big")
        length = int.from_bytes(content[start : start + 3], "big")
        self.count = int.from_bytes(content[start + 4 : start + 6], "big")
        self.compressed = bool(content[start + 6] & 64)
        codes = content[start + 7 : start + length]
        pairs = zip(codes[::2], codes[1::2], strict=False)
        self.descriptors = [(a >> 6) * 100000 + (a & 63) * 1000 + b for a, b in pairs]
        start += length
        length = int.from_bytes(content[start : start + 3], "big")
        self.data = content[start + 4 : start + length]


def _century(year: int) -> int:
    return (1900 if 50 < year < 100 else 2000) + year % 100


def _learn(tables: _Tables, section: _Section) -> None:
    """Take the entries of a table message: counts of 8 bits, everything else text."""
    data, at = section.data, 0

    def text(size: int) -> str:
        nonlocal at
        at += size
        if at > len(data):
            raise ValueError("the table message ends within an entry")
        return data[at - size : at].decode("latin-1")

    def count() -> int:
        return ord(text(1))

    sequences: dict[str, int] = {}
    for _ in range(count()):
        code, words = text(3), text(64)
        sequences[words[:8].strip()] = int(code)
    for _ in range(count()):
        descriptor, words, _units = int(text(6)), text(64), text(24)
        scale = int(text(1).strip() + text(3).strip())
        reference = int(text(1).strip() + text(10).strip())
        width = int(text(3))
        is_text = _units.strip().upper().startswith("CCITT")
        tables.elements[descriptor] = (words[:8].strip(), is_text, scale, reference, width)
    for _ in range(count()):
        descriptor, words = int(text(6)), text(64)
        tables.sequences[descriptor] = [int(text(6)) for _ in range(count())]
        if words[:8].strip() in sequences or words[:6] in _READ:
            tables.types[descriptor] = words[:8].strip()


class _Bits:
    """Whole numbers from a string of bytes, bit by bit."""

    def __init__(self, data: bytes) -> None:
        self._number, self._size, self.at = int.from_bytes(data, "big"), len(data) * 8, 0

    def take(self, width: int) -> int:
        self.at += width
        if self.at > self._size:
            raise ValueError("the report ends within a value")
        return (self._number >> (self._size - self.at)) & ((1 << width) - 1)


_Tree = list[tuple[str, "float | str | list[_Tree] | None"]]


def _reports(section: _Section, tables: _Tables) -> Iterator[_Tree]:
    """The reports of a message, each with its elements and replicated sequences in order."""
    if section.compressed:
        raise ValueError("compressed reports are not expected in prepBUFR")
    sequence = next(d for d in section.descriptors if d in tables.types)
    start = 0
    for _ in range(section.count):
        length = int.from_bytes(section.data[start : start + 2], "big")
        if length < 2:
            raise ValueError("a report without a length")
        bits = _Bits(section.data[start + 2 : start + length])
        yield _decoded(bits, tables.sequences[sequence], tables, 0, [0])
        start += length


def _decoded(
    bits: _Bits, descriptors: Sequence[int], tables: _Tables, depth: int, taken: list[int]
) -> _Tree:
    if depth > _DEEPEST:
        raise ValueError("sequences nest without end")
    tree: _Tree = []
    at = 0
    while at < len(descriptors):
        code = descriptors[at]
        at += 1
        taken[0] += 1
        if taken[0] > _MOST:
            raise ValueError("a report with too many values")
        if code in _REPLICATIONS or 100000 < code < 200000:
            times = bits.take(_REPLICATIONS[code]) if code in _REPLICATIONS else code % 1000
            size = 1 if code in _REPLICATIONS else code // 1000 - 100
            repeated = descriptors[at : at + size]
            at += size
            copies = [_decoded(bits, repeated, tables, depth + 1, taken) for _ in range(times)]
            tree.append((str(repeated[0]), copies))
        elif code in tables.sequences:
            tree += _decoded(bits, tables.sequences[code], tables, depth + 1, taken)
        else:
            name, is_text, scale, reference, width = tables.elements[code]
            raw = bits.take(width)
            missing = raw == (1 << width) - 1
            if is_text:
                letters = raw.to_bytes(max(width // 8, 1), "big")
                tree.append((name, None if missing else letters.decode("latin-1").strip(" \0")))
            else:
                tree.append((name, None if missing else (raw + reference) / 10.0**scale))
    return tree


def _first(tree: _Tree, name: str) -> float | str | None:
    """The first element ``name`` of a level, in whichever stack it is: of its newest event."""
    for own, value in tree:
        if isinstance(value, list):
            if value and (found := _first(value[0], name)) is not None:
                return found
        elif own == name:
            return value
    return None


def _levels(tree: _Tree) -> Iterator[_Tree]:
    """The levels of a report: the copies of the sequence that holds a pressure; else itself."""
    for _, value in tree:
        if isinstance(value, list):
            own = [copy for copy in value if any(name == "CAT" for name, _ in copy)]
            if own:
                yield from own
                return
    yield tree


def _rows(
    report: _Tree, kind: str, cycle: np.datetime64, number: int
) -> Iterator[dict[str, float | str]]:
    """One row for each level of a report, with values in SI units and their marks."""

    def value(tree: _Tree, name: str) -> float:
        found = _first(tree, name)
        return found if isinstance(found, float) else np.nan

    station = _first(report, "SID")
    for level in _levels(report):
        row: dict[str, float | str] = {"number": number, "upper": float(_READ[kind])}
        row["station"] = station if isinstance(station, str) else ""
        for name, own in (("latitude", "YDR"), ("longitude", "XDR"), ("hours", "HRDR")):
            moved = value(level, own)
            fixed = value(report, {"latitude": "YOB", "longitude": "XOB", "hours": "DHR"}[name])
            row[name] = fixed if np.isnan(moved) else moved
        row["cycle"] = str(cycle)
        row["elevation"] = value(report, "ELV")
        row["pressure"], row["p_mark"] = value(level, "POB") * 100, value(level, "PQM")
        row["virtual"] = float(value(level, "TPC") == _VIRTUAL)
        for ours, (ob, mark, factor, offset) in _QUANTITIES.items():
            row[ours] = value(level, ob) * factor + offset
            row[f"{ours}_mark"] = value(level, mark)
        yield row


def _table(
    rows: Sequence[Mapping[str, float | str]],
    file: str,
    lost: Sequence[Problem],
    notes: Sequence[Note],
) -> ReadResult:
    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], float)

    upper, virtual = column("upper") > 0, column("virtual") > 0
    cycle = np.array([row["cycle"] for row in rows], "datetime64[ns]")
    hours = np.nan_to_num(column("hours"))
    pressure, bad_pressure = column("pressure"), np.nan_to_num(column("p_mark")) > _HIGHEST_MARK
    longitude = column("longitude")
    place = {
        "station_id": np.array([row["station"] for row in rows], object),
        "time": cycle + np.round(hours * 3600).astype("timedelta64[s]"),
        "latitude": column("latitude").round(6),
        "longitude": longitude.round(6),
        "elevation": column("elevation"),
        "pressure": np.where(upper, pressure, np.nan),
    }

    def flag(bad: np.ndarray) -> np.ndarray:
        return np.where(bad, QC.PRE_QC, QC.PASS)

    values = [Values("sp", np.where(upper, np.nan, pressure), flag=flag(bad_pressure))]
    for ours in _QUANTITIES:
        bad = np.nan_to_num(column(f"{ours}_mark")) > _HIGHEST_MARK
        bad |= bad_pressure & upper
        found = column(ours)
        if ours == "t":
            values += placed("tv", np.where(virtual, found, np.nan), upper, flag=flag(bad))
            found = np.where(virtual, np.nan, found)
        values += placed(ours, found, upper, flag=flag(bad))
    number = np.array([row["number"] for row in rows], int)
    return assemble(file, number, place, values, lost=lost, notes=notes)

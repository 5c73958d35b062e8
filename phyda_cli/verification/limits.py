"""Limits on the numbers of a report: ``withheld.t2m.rmse < 2.5``, ``chi2 = 0.3..3``.

A TOML file holds them as ``"withheld.t2m.rmse" = "< 2.5"``, under ``[limits]`` or at its top; lines
may also be written without quotation marks, one limit each. ``phyda verify`` and the verdict of
``phyda assimilate`` take the same file and the same numbers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from phyda_cli.errors import InputError, UsageError
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.collected import Case, Collected
from phyda_cli.verification.physics import assess
from phyda_cli.verification.physics_quantities import NEEDS
from phyda_cli.verification.summary import numbers_of, summarise
from phyda_cli.verification.tidy import Row, tidy_rows

__all__ = [
    "Broken",
    "Limit",
    "broken_limits",
    "broken_of_analysis",
    "named_numbers",
    "read_limits",
]

_LINE = re.compile(r"^\s*\"?([\w.-]+)\"?\s*(<=|>=|<|>|=)\s*\"?(.+?)\"?\s*$")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Limit:
    """A number called ``name`` must lie within ``low`` and ``high``, which themselves count unless
    ``strict``; ``text`` is the line as written."""

    name: str
    low: float
    high: float
    strict: bool
    text: str

    def holds(self, value: float) -> bool:
        """Whether ``value`` keeps the limit."""
        if self.strict:
            return self.low < value < self.high
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Broken:
    """A limit that does not hold; ``value`` is None where the report has no such number."""

    limit: Limit
    value: float | None

    @property
    def text(self) -> str:
        """The broken line, and what was found."""
        found = "there is no such number" if self.value is None else f"found {self.value:.4g}"
        return f"{self.limit.text}: {found}"


def read_limits(path: Path) -> list[Limit]:
    """The limits in a file. Raises InputError when it cannot be read, UsageError for a line that is
    none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the limits {path}: {error}") from error
    return [limit(*line, path) for line in _lines(text)]


def _lines(text: str) -> list[tuple[str, str]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        found = []
        for line in text.splitlines():
            bare = line.split("#")[0].strip()
            if not bare or re.fullmatch(r"\[[\w.]+\]", bare):
                continue
            match = _LINE.match(bare)
            found.append((match[1], f"{match[2]} {match[3]}") if match else (bare, ""))
        return found
    return list(_flat(table.get("limits", table)))


def _flat(table: Mapping[str, object], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", str(value)


def limit(name: str, condition: str, path: Path) -> Limit:
    """One limit from its name and ``< 2.5``, ``>= 3``, ``0.3..3`` or ``= 0.3..3``."""
    text = f"{name} {condition}"
    range_ = re.fullmatch(rf"=?\s*({_NUMBER})\s*\.\.\s*({_NUMBER})", condition.strip())
    if range_:
        return Limit(name, float(range_[1]), float(range_[2]), False, text)
    bound = re.fullmatch(rf"(<=|>=|<|>)\s*({_NUMBER})", condition.strip())
    if not bound:
        raise UsageError(
            f"{path}: {text.strip()!r} is no limit",
            hint='for example "withheld.t2m.rmse" = "< 2.5", "chi2" = "0.3..3"',
        )
    value, strict = float(bound[2]), "=" not in bound[1]
    if bound[1].startswith("<"):
        return Limit(name, float("-inf"), value, strict, text)
    return Limit(name, value, float("inf"), strict, text)


def named_numbers(rows: Iterable[Row], extra: Mapping[str, float | None]) -> dict[str, float]:
    """All numbers that a limit may name: ``INDEPENDENCE.VARIABLE[LEVEL].SCORE`` of the analysis and
    ``background.INDEPENDENCE.…`` of the background, over all regions and groups; fields stand
    under ``truth``; and ``extra``, such as ``chi2``, ``used.total``, ``mass.ratio``."""
    found = {name: value for name, value in extra.items() if value is not None}
    for row in rows:
        if row.region != "all" or row.group:
            continue
        level = row.level.replace(" ", "_")
        kind = "truth" if row.source == "fields" else row.independence
        name = f"{kind}.{row.variable}{level}.{row.score}"
        found[name if row.state == "analysis" else f"background.{name}"] = row.value
    return found


def broken_limits(limits: Iterable[Limit], numbers: Mapping[str, float]) -> list[Broken]:
    """The limits that ``numbers`` break; a number that is not there breaks its limit."""
    broken = []
    for each in limits:
        value = numbers.get(each.name)
        if value is None or not each.holds(value):
            broken.append(Broken(each, value))
    return broken


def broken_of_analysis(limits: Iterable[Limit], case: Case) -> list[Broken]:
    """The limits that an analysis breaks before it is written, by the numbers that ``phyda verify``
    finds for it. Limits on what only a truth can tell are left to ``phyda verify``."""
    file = case.file
    assert file is not None
    own = [x for x in limits if "truth" not in x.name.split(".")]
    found = Collected()
    found.add(case, VerificationSettings())
    rows = list(tidy_rows(found.sums))
    physics = None
    if any(x.name.partition(".")[0] in NEEDS for x in own):
        physics = assess(file.fields, case.background, None, file.members)
    numbers = numbers_of(found, summarise(found, rows), physics)
    return broken_limits(own, named_numbers(rows, numbers))

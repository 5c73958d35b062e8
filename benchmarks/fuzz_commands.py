"""Damaged checkpoints, settings and mapping files: no command may print a traceback, hang, or end
with anything but the exit code of a wrong input.

    python -m benchmarks.fuzz_commands [--copies 2000] [--seed 0] [--kind settings]

Each copy has bytes changed, removed or repeated, or a value, anywhere in its structure, replaced by
an odd one. The commands run in this process, which a crash would end.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import random
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np
from safetensors.torch import save_file
from torch import zeros
from typer.main import get_command

from benchmarks.fuzz import mutate
from benchmarks.tiny_case import observations, tiny_checkpoint
from phyda_cli import app
from phyda_cli.cycle.clock import from_stamp
from phyda_cli.files.publish import sha256
from phyda_cli.model.checkpoint import Checkpoint

__all__ = ["KINDS", "fuzz_commands"]

LIMIT = 60  # s for one copy
CODES = {0, 2, 3, 4, 5}
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1e308, -1e-320, "", "x" * 200_000, "\x1b[31m\x07", "[red]", "\0"),
    *("../../etc/passwd", "/dev/zero", "{time.__class__}", "%s" * 50, "NaT", "9999999-01-01"),
    *([], {}, [[[[[[]]]]]], {"a": {"b": []}}, [1, "a", None], "é\ud800", float("nan"), 2**63),
)
SETTINGS = """
method = "oi"
seed = 3
[qc]
window_hours = 3.0
withhold = 0.1
[fine]
stage = "off"
"""
CYCLE = """
folder = "cycle"
first = 2021-01-01T00:00:00Z
arguments = ["--method", "oi"]
observations = [{ pattern = "obs_{time:%Y%m%d%H}.csv", required = true }]
background = [{ pattern = "fc_{start:%Y%m%d%H}_f{lead:03d}.nc" }, { run = ["model", "{out}"] }]
[gates]
rejected_fraction = 0.5
[retention]
cycles = 20
bytes = "5GB"
"""
MAPPING = """
station_id = "station_id"
latitude = "latitude"
longitude = { column = "longitude", unit = "degree" }
variable = "variable"
value = { column = "value", scale = 1.0, missing = ["M"] }
pressure = { column = "pressure", unit = "Pa" }
missing = ["NA"]
[time]
column = "time"
format = "%Y-%m-%dT%H:%M:%SZ"
"""


class Kind:
    """One kind of input in ``folder``: :meth:`damage` writes a copy, :meth:`words` are those of a
    command that reads it, and :meth:`use` reads what no quick command does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def damage(self, draw: random.Random) -> None:
        """Write a damaged copy."""

    def words(self, draw: random.Random) -> list[str]:
        """The words after ``phyda``."""
        return []

    def use(self) -> None:
        """Read it as an analysis would."""


class Text(Kind):
    """A file of text."""

    def __init__(self, folder: Path, text: str, commands: list[list[str]]) -> None:
        super().__init__(folder)
        self.text, self.commands = text, commands
        self.path = folder / "damaged.toml"

    def damage(self, draw: random.Random) -> None:
        """Most copies have other bytes or another value; a few are whole."""
        chance = draw.random()
        if chance < 0.1:
            content = self.text.encode()
        elif chance < 0.5:
            content = mutate(self.text.encode(), np.random.default_rng(draw.getrandbits(32)))
        else:
            lines = [line for line in self.text.splitlines() if " = " in line]
            name = draw.choice(lines).split(" = ")[0]
            old = next(line for line in lines if line.startswith(f"{name} = "))
            new = f"{name} = {toml(draw.choice(ODD))}"
            content = self.text.replace(old, new).encode("utf-8", "surrogatepass")
        self.path.write_bytes(content)

    def words(self, draw: random.Random) -> list[str]:
        """One of the commands."""
        return [word.format(path=self.path) for word in draw.choice(self.commands)]


class Description(Kind):
    """The file ``model.json``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tiny_checkpoint(folder / "model")
        self.path = folder / "model" / "model.json"
        self.whole = self.path.read_bytes()

    def damage(self, draw: random.Random) -> None:
        """Half of the copies have other bytes, half another value."""
        if draw.random() < 0.5:
            content = mutate(self.whole, np.random.default_rng(draw.getrandbits(32)))
        else:
            content = dumped(damaged(json.loads(self.whole), draw))
        self.path.write_bytes(content)

    def words(self, draw: random.Random) -> list[str]:
        """What describes a model."""
        commands = (["inspect"], ["inspect", "--json"], ["card"])
        return ["model", *draw.choice(commands), str(self.folder / "model")]

    def use(self) -> None:
        """All of its parts."""
        checkpoint = Checkpoint.open(self.folder / "model")
        checkpoint.networks()
        checkpoint.background_spread()
        checkpoint.members(np.datetime64("2010-01-05"))
        assert checkpoint.statics["orography"].shape
        _ = checkpoint.mean_error


class Weights(Description):
    """The header of one of the safetensors files, with the right hash in ``model.json``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shape = (4, 8, 16)
        known = {"origin": zeros(shape), "patterns": zeros(1, *shape), "weights": zeros(6, *shape)}
        save_file(known, str(folder / "model" / "mean_error.safetensors"))
        self.files = {p.name: p.read_bytes() for p in (folder / "model").glob("*.safetensors")}

    def damage(self, draw: random.Random) -> None:
        """One file's header has other bytes, another value or length, or is whole."""
        for name, content in self.files.items():
            (self.folder / "model" / name).write_bytes(content)
        name = draw.choice(sorted(self.files))
        content = self.files[name]
        (length,) = struct.unpack("<Q", content[:8])
        header, data = content[8 : 8 + length], content[8 + length :]
        kind = draw.randrange(4)
        if kind == 0:
            header = mutate(header, np.random.default_rng(draw.getrandbits(32)))
        elif kind == 1:
            header = dumped(damaged(json.loads(header), draw))
        stated = draw.choice([0, 1, length - 1, length + 1, 2**63, 2**64 - 1, 10**9])
        stated = stated if kind == 2 else len(header)
        path = self.folder / "model" / name
        path.write_bytes(struct.pack("<Q", stated) + header + data)
        record = json.loads(self.whole)
        for file in self.files:
            found = self.folder / "model" / file
            record["files"][file], record["sizes"][file] = sha256(found), found.stat().st_size
        self.path.write_text(json.dumps(record), encoding="utf-8")


def settings_kind(folder: Path) -> Kind:
    """Settings of an analysis."""
    commands = [["config", "show", "assimilate", "--config", "{path}"]]
    return Text(folder, SETTINGS, [*commands, [*commands[0], "--json"]])


def cycle_kind(folder: Path) -> Kind:
    """Settings of a cycle."""
    now = ["--now", "2021-01-01T00:10"]
    return Text(
        folder,
        CYCLE.replace('"cycle"', f'"{folder}/cycle"'),
        [
            ["cycle", "status", "--config", "{path}"],
            ["config", "show", "cycle", "--config", "{path}"],
            ["cycle", "run", "--once", "--config", "{path}", *now],
        ],
    )


def mapping_kind(folder: Path) -> Kind:
    """A mapping file."""
    table = observations(folder / "obs.csv", from_stamp("20210101T0000Z"))
    return Text(folder, MAPPING, [["obs", "inspect", str(table), "--obs-map", "{path}"]])


KINDS: dict[str, Callable[[Path], Kind]] = {
    "model.json": Description,
    "weights": Weights,
    "settings": settings_kind,
    "cycle": cycle_kind,
    "mapping": mapping_kind,
}


def toml(value: object) -> str:
    """``value`` as TOML would have it, more or less."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("NaN", "nan").replace("null", "'none'")


def dumped(record: object) -> bytes:
    """JSON, also of what is not UTF-8."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")


def damaged(record: Any, draw: random.Random) -> Any:
    """A copy of ``record`` with an odd value somewhere, or without one."""
    found = copy.deepcopy(record)
    at = found
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return draw.choice(ODD)
        key = draw.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.8:
            at = at[key]
            continue
        if draw.random() < 0.15:
            del at[key]
        elif draw.random() < 0.1 and isinstance(at, dict):
            at[str(draw.choice(ODD))] = at.pop(key)
        else:
            at[key] = draw.choice(ODD)
        return found


class Hung(BaseException):
    """A command took longer than its limit."""


def _expire(*_: int | FrameType | None) -> None:
    raise Hung


def fuzz_commands(
    kind: Kind, copies: int, seed: int = 0
) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """How many of ``copies`` ended with which code; and what was wrong with which copy."""
    draw, counts = random.Random(seed), Counter[str]()
    wrong: list[tuple[int, str]] = []
    signal.signal(signal.SIGALRM, _expire)
    inside = kind.folder / "a" / "b" / "c"  # for paths that go up
    inside.mkdir(parents=True)
    with (
        contextlib.chdir(inside),
        patch.object(app, "app", get_command(app.app)),
        patch("signal.signal"),
    ):
        for number in range(copies):
            kind.damage(draw)
            code, said = _run(kind.words(draw), kind.use)
            counts[f"exit {code}"] += 1
            if code not in CODES or "Traceback" in said:
                wrong.append((number, f"exit {code}: {said[-1500:]}"))
    return dict(sorted(counts.items())), wrong


def _run(words: list[str], use: Callable[[], None]) -> tuple[int, str]:
    """The exit code of ``phyda WORDS`` and what it said; then of what ``use`` raises."""
    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            patch.object(sys, "argv", ["phyda", *words]),
        ):
            app.main()
    except SystemExit as error:
        code = int(error.code or 0)
    except Hung:
        return 124, f"{words} took longer than {LIMIT} s"
    else:
        code = 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if code == 0:
        with contextlib.redirect_stderr(err), patch.object(app, "app", use):
            try:
                app.main()
            except SystemExit as error:
                code = int(error.code or 0)
    if "\x1b" in out.getvalue() + err.getvalue():
        return 1, "an escape sequence reached the terminal"
    return code, err.getvalue()


def main() -> None:
    """Fuzz every kind; exit 1 when anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS))
    arguments = parser.parse_args()
    missed = False
    for name in [arguments.kind] if arguments.kind else KINDS:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            counts, wrong = fuzz_commands(
                KINDS[name](Path(folder)), arguments.copies, arguments.seed
            )
        seconds = round(time.monotonic() - began, 1)
        print(json.dumps({"kind": name, **counts, "seconds": seconds, "wrong": len(wrong)}))
        for number, text in wrong[:20]:
            print(f"--- copy {number}: {text}", flush=True)
        missed = missed or bool(wrong)
    raise SystemExit(missed)


if __name__ == "__main__":
    main()

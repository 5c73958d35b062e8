"""The ``phyda`` command: subcommands, exit codes, signals. Imports nothing heavy."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import metadata
from types import FrameType
from typing import Annotated

import typer

from phyda_cli import __version__
from phyda_cli.commands.assimilate import assimilate
from phyda_cli.commands.config import config
from phyda_cli.commands.console import say, stamped
from phyda_cli.commands.cycle import cycle
from phyda_cli.commands.demo import demo
from phyda_cli.commands.doctor import doctor
from phyda_cli.commands.download import download
from phyda_cli.commands.inspect import inspect
from phyda_cli.commands.model import model
from phyda_cli.commands.obs import obs
from phyda_cli.commands.osse import osse
from phyda_cli.commands.plot import plot
from phyda_cli.commands.preprocess import preprocess
from phyda_cli.commands.simulate import simulate
from phyda_cli.commands.train import train
from phyda_cli.commands.verify import verify
from phyda_cli.errors import EXIT_INPUT, EXIT_INTERNAL, PhydaError
from phyda_cli.files.publish import abandon
from phyda_cli.settings.options import SettingsCommand

__all__ = ["app", "main"]

NO_MEMORY = (  # in the words of the system, of the dynamic linker and of torch
    "Cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "out of memory",
    "can't start new thread",
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Atmospheric data assimilation: observations and a forecast in, the best estimate of "
    "the atmosphere out.",
    epilog="Exit codes: 0 ok, 1 internal, 2 usage, 3 input, 4 no usable observations, 5 gate "
    "failed, 75 busy, 128+n signal.",
)
ANALYSES, INPUTS, OWN, SETUP = "Analyses", "Inputs and networks", "A model of your own", "Setup"
for command, panel in (
    (assimilate, ANALYSES),
    (verify, ANALYSES),
    (demo, ANALYSES),
    (osse, INPUTS),
    (download, OWN),
    (train, OWN),
    (doctor, SETUP),
):
    app.command(cls=SettingsCommand, rich_help_panel=panel)(command)
app.command(rich_help_panel=ANALYSES)(plot)
app.command(rich_help_panel=INPUTS)(inspect)
app.add_typer(cycle, name="cycle", rich_help_panel=ANALYSES)
app.add_typer(obs, name="obs", rich_help_panel=INPUTS)
app.add_typer(simulate, name="simulate", rich_help_panel=OWN)
app.add_typer(preprocess, name="preprocess", rich_help_panel=OWN)
app.add_typer(model, name="model", rich_help_panel=OWN)
app.add_typer(config, name="config", rich_help_panel=SETUP)


def _version(value: bool) -> None:
    if value:
        print(f"phyda {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _terminate(number: int, _: FrameType | None) -> None:
    """Leave at once, with what is half written removed: unwinding through C libraries can crash or
    wait for ever, and so can a stream that was just being written."""
    abandon()
    shown_again = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live table has hidden the cursor
    line = f"{shown_again}{stamped(f'FATAL ERROR: ended by {signal.Signals(number).name}')}\n"
    with suppress(OSError):
        os.write(2, line.encode())
    os._exit(128 + number)


def _outside(error: Exception) -> tuple[str, int] | None:
    """What to say, and the exit code, where the machine and not phyda is at fault."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return (
            "there is not enough memory: give the process more, or use fewer levels, members or "
            "files at once",
            EXIT_INTERNAL,
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}", EXIT_INPUT
    return None


def _address() -> str:
    """Who mends defects: the address in the package's metadata, where whoever built it gave one."""
    known: dict[str, str] = {}
    with suppress(metadata.PackageNotFoundError):
        urls = metadata.metadata("phyda").get_all("Project-URL") or ()
        known = dict(url.split(", ", 1) for url in urls)
    return known.get("Issues") or known.get("Homepage") or "whoever installed it for you"


def main() -> None:
    """Run the command line; every error of phyda's own becomes one message and its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    # Torch's threads sleep while they wait for each other. On a busy machine they would else spend
    # more time on waiting than on work. Read when torch is loaded, here and in processes started.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except PhydaError as error:
        if os.environ.get("PHYDA_DEBUG"):
            traceback.print_exc()
        say(f"FATAL ERROR: {error.message}")
        if error.hint:
            say(f"  {error.hint}")
        sys.exit(error.exit_code)
    except Exception as error:
        if (reason := _outside(error)) is not None:
            error.__traceback__ = error.__context__ = None  # memory that its frames hold
            say(f"FATAL ERROR: {reason[0]}")
            sys.exit(reason[1])
        traceback.print_exc()
        say(
            "FATAL ERROR: this is a defect in phyda; please send the lines above and what "
            f"phyda doctor prints to {_address()}"
        )
        sys.exit(EXIT_INTERNAL)


if __name__ == "__main__":
    main()

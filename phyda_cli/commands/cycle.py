"""``phyda cycle``: analyses every few hours, unattended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phyda_cli.commands.console import emit_json, emit_text, say
from phyda_cli.errors import GateError, InputError, UsageError

if TYPE_CHECKING:
    from phyda_cli.settings.cycle import CycleSettings

__all__ = ["cycle"]

cycle = typer.Typer(no_args_is_help=True, help="Analyses every few hours, unattended.")

Config = Annotated[
    Path,
    typer.Option(
        "--config", help="Settings of the cycle (TOML).", envvar="PHYDA_CYCLE", readable=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cycle.command()
def run(
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Make one analysis at most.")] = False,
    until: Annotated[
        str | None, typer.Option(help="Make no analysis later than this time (UTC).")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(help="Act as if it were this time (UTC), and do not wait for anything."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make every analysis that is due, and publish each whole or not at all.

    The last published report is the state: whatever ends a run, the next one goes on from there.
    The exit code is 0 when every analysis that was due is published, else that of the first that
    is not.

    Examples:

      phyda cycle run --config cycle.toml

      phyda cycle run --config cycle.toml --until 2020-10-02T00 --now 2020-10-05T00
    """
    from phyda_cli.cycle.clock import Clock, stamp
    from phyda_cli.cycle.run import Cycle

    settings = _settings(config)
    outcomes = Cycle(settings, Clock(_time(now, "--now")), say).run(_time(until, "--until"), once)
    published = [o for o in outcomes if o.code == 0]
    failed = [o for o in outcomes if o.code]
    if as_json:
        emit_json(
            {
                "cycles": [
                    {
                        "cycle": stamp(o.time),
                        "code": o.code,
                        "status": o.status,
                        "reasons": list(o.reasons),
                    }
                    for o in outcomes
                ]
            }
        )
    say(f"{len(published)} published, {len(failed)} stopped" if outcomes else "nothing is due")
    if failed:
        raise typer.Exit(failed[0].code)


@cycle.command()
def status(
    config: Config,
    max_age: Annotated[
        float | None,
        typer.Option("--max-age", min=0, help="Exit with 5 when the last analysis is older [h]."),
    ] = None,
    now: Annotated[str | None, typer.Option(help="Act as if it were this time (UTC).")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which analysis is the last one, how it went and how old it is, and which later ones
    stopped.

    Example:

      phyda cycle status --config cycle.toml --max-age 9
    """
    from phyda_cli.cycle.clock import Clock, stamp
    from phyda_cli.cycle.folder import CycleFolder

    settings = _settings(config)
    folder = CycleFolder(settings.folder)
    last = folder.last()
    stopped = [
        {"cycle": event["cycle"], "code": event["code"], "reasons": event["reasons"]}
        for event in folder.stopped(None if last is None else last.time)
    ]
    if last is None:
        raise InputError(
            f"no analysis is published in {settings.folder}",
            hint=f"see {settings.folder / 'events.jsonl'}, why {stopped[-1]['cycle']} stopped"
            if stopped
            else "start with phyda cycle run",
        )
    age = (Clock(_time(now, "--now")).now() - last.time).total_seconds() / 3600
    state = {
        "cycle": stamp(last.time),
        "status": last.report["status"],
        "reasons": last.report["reasons"],
        "age_hours": round(age, 2),
        "observations_used": last.report["analysis"]["observations"]["used"],
        "background": last.report["background"]["origin"],
    }
    if as_json:
        emit_json(state | {"stopped": stopped})
    else:
        for name, value in state.items():
            shown = ", ".join(value) or "none" if isinstance(value, list) else value
            emit_text(f"{name.replace('_', ' '):18} {shown}\n")
        for one in stopped:
            emit_text(
                f"{'stopped':18} {one['cycle']} ({one['code']}): {', '.join(one['reasons'])}\n"
            )
    if max_age is not None and age > max_age:
        raise GateError(
            f"the last analysis, {stamp(last.time)}, is {age:.1f} h old; at most {max_age:g} h "
            "are expected",
            hint=f"see {settings.folder / 'events.jsonl'}",
        )


@cycle.command()
def replay(
    config: Config,
    name: Annotated[str, typer.Argument(metavar="CYCLE", help="Such as 20201001T0600Z.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the outputs.", readable=False)],
) -> None:
    """Make a published analysis again from its recorded inputs, and compare the two bit for bit.

    Exits with 5 when they differ.

    Example:

      phyda cycle replay 20201001T0600Z --config cycle.toml --out /tmp/again
    """
    from phyda_cli.cycle.clock import from_stamp
    from phyda_cli.cycle.folder import CycleFolder
    from phyda_cli.cycle.replay import replay as make_again

    settings = _settings(config)
    try:
        time = from_stamp(name)
    except ValueError as error:
        raise UsageError(f"{name} is no name of a cycle, such as 20201001T0600Z") from error
    found = make_again(CycleFolder(settings.folder).published(time), out, settings.minutes)
    if found:
        raise GateError(f"the replay of {name} differs in {', '.join(found)}")
    say(f"the replay of {name} is the same to the bit")


@cycle.command(hidden=True, context_settings={"ignore_unknown_options": True})
def twin(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """This command has another name now."""
    raise UsageError("phyda cycle twin is phyda simulate twin now", hint="its options are the same")


def _settings(config: Path) -> CycleSettings:
    from phyda_cli.settings.cycle import CycleSettings
    from phyda_cli.settings.options import Chosen

    return Chosen((CycleSettings,), config=config).settings(CycleSettings)


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is no time", hint="expected a time such as 2020-10-01T06:00"
        ) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)

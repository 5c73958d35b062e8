"""What a cycle does when something is wrong: one line a fault. The documentation is this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phyda_cli.errors import EXIT_GATE, EXIT_INPUT, EXIT_LOCKED, EXIT_NO_OBSERVATIONS, EXIT_USAGE

__all__ = ["FAULTS", "Fault", "Mode", "stops", "table"]

Mode = Literal["strict", "degrade", "background_only"]


@dataclass(frozen=True)
class Fault:
    """What a fault ``means``, what the cycle ``waits`` for, the exit ``code`` when it stops, in
    which modes it does, and what ``follows``: what is on disk and what the next run does."""

    means: str
    waits: str
    code: int
    stops_in: tuple[Mode, ...]
    follows: str


_STRICT: tuple[Mode, ...] = ("strict",)
_ALWAYS: tuple[Mode, ...] = ("strict", "degrade", "background_only")
_AGAIN = "Nothing is published. The next run tries this cycle again until a later one is published."
_DEGRADED = "The cycle is published as degraded, with the reason."

FAULTS: dict[str, Fault] = {
    "observations_late": Fault(
        "An optional stream has no file.", "until the cut-off", EXIT_INPUT, (), _DEGRADED
    ),
    "observations_missing": Fault(
        "A required stream has no file.", "until the cut-off", EXIT_INPUT, _STRICT, _DEGRADED
    ),
    "observations_half_written": Fault(
        "A file still grows, or its done marker is absent.",
        "until the cut-off",
        EXIT_INPUT,
        _STRICT,
        f"The file is left out. {_DEGRADED}",
    ),
    "observations_grew": Fault(
        "A file grew while it was copied.",
        "for nothing",
        EXIT_INPUT,
        (),
        f"The copy is used, and its hash is recorded. {_DEGRADED}",
    ),
    "observations_unreadable": Fault(
        "An observation file cannot be read.",
        "for nothing",
        EXIT_INPUT,
        _STRICT,
        f"The file is left out, and the reason names it. {_DEGRADED}",
    ),
    "observations_repeated": Fault(
        "All observation files are those of the cycle before.",
        "for nothing",
        EXIT_NO_OBSERVATIONS,
        _ALWAYS,
        _AGAIN,
    ),
    "observations_none": Fault(
        "No observation is usable: none there, none in the window, from elsewhere or the future.",
        "until the cut-off",
        EXIT_NO_OBSERVATIONS,
        ("strict", "degrade"),
        "In the mode background_only the background is published as such; else as for a missing "
        "background.",
    ),
    "observations_few": Fault(
        "Far fewer observations are used than in the last cycles.",
        "for nothing",
        EXIT_GATE,
        _STRICT,
        _DEGRADED,
    ),
    "one_type": Fault(
        "Only one variable is observed where the last cycles had several.",
        "for nothing",
        EXIT_GATE,
        _STRICT,
        _DEGRADED,
    ),
    "background_late": Fault(
        "The youngest forecast is not there, an older one or another source is.",
        "until the cut-off",
        EXIT_INPUT,
        _STRICT,
        _DEGRADED,
    ),
    "background_unreadable": Fault(
        "A background is half-written or damaged, or changes while it is used.",
        "for nothing",
        EXIT_INPUT,
        _STRICT,
        f"The next candidate is used. {_DEGRADED}",
    ),
    "lagged_unreadable": Fault(
        "A forecast of an earlier start is half-written or damaged, or changes while it is used.",
        "for nothing",
        EXIT_INPUT,
        _STRICT,
        f"The analysis is made without those forecasts. {_DEGRADED}",
    ),
    "background_missing": Fault(
        "No source has a background that is young enough.",
        "until the cut-off",
        EXIT_INPUT,
        _ALWAYS,
        _AGAIN,
    ),
    "replacement_poorer": Fault(
        "An analysis is to be replaced for late observations, but has fewer files or an older "
        "background now.",
        "for nothing",
        EXIT_INPUT,
        _ALWAYS,
        "The published analysis stays.",
    ),
    "memory_lost": Fault(
        "The feedback of the cycle before is gone or damaged, and with it the memory of biased "
        "stations.",
        "for nothing",
        EXIT_INPUT,
        _STRICT,
        f"The analysis starts a new memory. {_DEGRADED}",
    ),
    "checkpoint_changed": Fault(
        "The model is another than the cycle before's.",
        "for nothing",
        EXIT_USAGE,
        (),
        f"{_DEGRADED} With allow_checkpoint_change = false the cycle stops in every mode.",
    ),
    "analysis_degraded": Fault(
        "The analysis itself says that it is degraded or suspect.",
        "for nothing",
        EXIT_GATE,
        _STRICT,
        _DEGRADED,
    ),
    "gate": Fault(
        "The analysis does not pass a gate.",
        "for nothing",
        EXIT_GATE,
        _ALWAYS,
        "The analysis is kept in rejected/ and never used. The next run leaves it alone unless its "
        "inputs have changed.",
    ),
    "analysis_failed": Fault(
        "phyda assimilate ended with an error, at its time limit, or was killed.",
        "for nothing",
        EXIT_INPUT,
        _ALWAYS,
        f"The exit code is the analysis's own. {_AGAIN}",
    ),
    "busy": Fault(
        "Another run works in the same folder.",
        "for nothing",
        EXIT_LOCKED,
        _ALWAYS,
        "Nothing changes. The next run does the work that is left.",
    ),
    "disk": Fault(
        "The disk is full or read-only.",
        "for nothing",
        EXIT_USAGE,
        _ALWAYS,
        f"Nothing incomplete is visible. {_AGAIN}",
    ),
    "clock": Fault(
        "The last published cycle is later than the clock says.",
        "for nothing",
        EXIT_USAGE,
        _ALWAYS,
        "Nothing changes. The next run goes on when the clock is right.",
    ),
}


def stops(fault: str, mode: Mode) -> bool:
    """Whether ``fault`` ends the cycle in ``mode``."""
    return mode in FAULTS[fault].stops_in


def table() -> str:
    """The policy as a Markdown table, which the documentation holds."""
    rows = ["| fault | meaning | waits | exit | stops in | then |", "|---|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        modes = (
            "every mode" if fault.stops_in == _ALWAYS else ", ".join(fault.stops_in) or "no mode"
        )
        cells = (f"`{name}`", fault.means, fault.waits, str(fault.code), modes, fault.follows)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"

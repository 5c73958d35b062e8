"""The one exception family: each error carries its exit code and the user's next step (DESIGN
section 5)."""

from __future__ import annotations

__all__ = [
    "EXIT_GATE",
    "EXIT_INPUT",
    "EXIT_INTERNAL",
    "EXIT_LOCKED",
    "EXIT_NO_OBSERVATIONS",
    "EXIT_OK",
    "EXIT_USAGE",
    "BusyError",
    "GateError",
    "InputError",
    "NoObservationsError",
    "OutputError",
    "PhydaError",
    "UsageError",
]

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_NO_OBSERVATIONS = 4
EXIT_GATE = 5
EXIT_LOCKED = 75


class PhydaError(Exception):
    """Base of every error phyda raises on purpose. ``hint`` says what the user can do next."""

    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PhydaError):
    """A wrong option, setting or combination of them."""

    exit_code = EXIT_USAGE


class InputError(PhydaError):
    """An input is missing, unreadable or does not hold what was expected."""

    exit_code = EXIT_INPUT


class OutputError(PhydaError):
    """An output cannot be written: missing folder, existing file, full disk."""

    exit_code = EXIT_USAGE


class NoObservationsError(PhydaError):
    """No observation is left to assimilate."""

    exit_code = EXIT_NO_OBSERVATIONS


class GateError(PhydaError):
    """A numerical or quality gate failed; nothing was published."""

    exit_code = EXIT_GATE


class BusyError(PhydaError):
    """Another phyda works in the same place."""

    exit_code = EXIT_LOCKED

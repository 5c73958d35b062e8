"""What comes from files must not steer the terminal."""

from __future__ import annotations

import pytest
from rich.table import Table

from phyda_cli.commands.console import emit, printable, say


def test_control_characters_are_shown() -> None:
    assert printable("a\x1b[31mb\x07\x9b\udcff") == "a\\x1b[31mb\\x07\\x9b\\udcff"
    assert printable("Zürich\n°C\t日本") == "Zürich\n°C\t日本"


def test_messages_and_tables_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title="[bold]t\x1b]0;x\x07")
    table.add_column("name")
    table.add_row("[red]EDDF[/nonsense]\x1b[2J")
    emit(table)
    say("\x1b[2J")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\x07" not in out
    assert "[red]EDDF[/nonsense]\\x1b[2J" in out

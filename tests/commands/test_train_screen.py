"""``phyda train`` on the screen: the dry run and the table."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from phyda_cli.commands.progress import status_table
from phyda_cli.model.checkpoint import Checkpoint, build_networks
from phyda_cli.settings.model import NetworkSettings
from phyda_cli.training.monitor import Status


def test_a_dry_run_says_what_it_takes_and_writes_nothing(
    phyda: Callable[..., Any], store_path: Path, tiny_run: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        "batch = 8\nreports = [5, 20]\nsamples = 800\nmembers = 12\n[network]\nencoder = [8, "
        "16]\ndenoiser = [8, 16]\n"
    )
    done = phyda(
        "train", "--data", store_path, "--out", tmp_path / "run", "--config", config, "--dry-run"
    )
    assert done.code == 0, done.err
    assert list(tmp_path.iterdir()) == [config]
    spec = Checkpoint.open(tiny_run / "checkpoint").state
    for network, steps in zip(
        build_networks(spec, NetworkSettings(encoder=(8, 16), denoiser=(8, 16))),
        (600, 300),
        strict=True,
    ):
        assert f"{sum(p.numel() for p in network.parameters()):,}" in done.out
        assert f" {steps} " in done.out
    assert "1 process; memory of each" in done.out.replace("\n", " ")
    assert "disk" in done.out


def test_the_table_of_a_step() -> None:
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(
        status_table(
            Status(
                "encoder",
                30,
                90,
                {"mse": 0.5},
                {"oi": 0.8, "encoder": 0.6},
                1e-3,
                0.25,
                0.012,
                False,
            )
        )
    )
    shown = screen.export_text()
    for part in (
        "encoder",
        "30/90",
        "0.5000",
        "1.00e-03",
        "0.25",
        "1.2%",
        "0.8000",
        "0.6000",
        "-25.0%",
        "4 min",
    ):
        assert part in shown

"""Requests that survive what networks do to them."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from archive_server import QUICK, Server, serving

from phyda_cli.errors import InputError
from phyda_cli.settings.data import RetrySettings
from phyda_cli.sources.http import Client

FAULTS = ["drop", "429", "500", "503", "truncate"]


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    content = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "a").write_bytes(content)
    return content


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_survived(tmp_path: Path, body: bytes, fault: str) -> None:
    said: list[str] = []
    with (
        serving(Server(tmp_path, lambda _, count: fault if count < 2 else None)) as server,
        Client(QUICK, said.append) as client,
    ):
        assert client.send("GET", f"{server.url}/a").content == body
        assert server.asked["/a"] == 3
    assert len(said) == 2
    assert all("127.0.0.1" in line for line in said)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_ends_with_the_host(tmp_path: Path, body: bytes, fault: str) -> None:
    settings = QUICK.model_copy(update={"attempts": 4})
    with serving(Server(tmp_path, lambda _, count: fault)) as server, Client(settings) as client:
        with pytest.raises(InputError, match=f"127.0.0.1:{server.server_port}") as caught:
            client.send("GET", f"{server.url}/a")
        assert server.asked["/a"] == (
            3 if fault == "drop" else 4
        )  # a host that never answered is given up earlier
    assert "phyda preprocess" in caught.value.hint


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path, body: bytes) -> None:
    with (
        serving(Server(tmp_path, lambda _, count: "truncate" if count < 3 else None)) as server,
        Client(QUICK) as client,
    ):
        client.download(f"{server.url}/a", tmp_path / "b", len(body))
        assert (tmp_path / "b").read_bytes() == body
        assert client.received == len(body)
        (tmp_path / "c").write_bytes(body[:70_000])  # what a killed process left
        client.download(f"{server.url}/a", tmp_path / "c", len(body))
        assert (tmp_path / "c").read_bytes() == body
        assert client.received == len(body) + 30_000
        (tmp_path / "c").write_bytes(body + b"longer")
        client.download(f"{server.url}/a", tmp_path / "c", len(body))
        assert (tmp_path / "c").read_bytes() == body


def test_a_silent_server_counts_as_lost(tmp_path: Path, body: bytes) -> None:
    quick = QUICK.model_copy(update={"timeout": 0.2})
    with (
        serving(Server(tmp_path, lambda _, count: "hang" if count == 0 else None)) as server,
        Client(quick) as client,
    ):
        assert client.send("GET", f"{server.url}/a").content == body


def test_no_network_names_the_host_and_the_way_without(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        Client(QUICK) as client,
        pytest.raises(InputError, match=f"cannot reach 127.0.0.1:{port}") as caught,
    ):
        client.send("GET", f"http://127.0.0.1:{port}/a")
    assert "phyda preprocess" in caught.value.hint


def test_waits_grow_at_random(tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Client, "sleep", lambda _, seconds: waits.append(seconds))
    settings = RetrySettings(attempts=9, first_wait=1, longest_wait=30)
    with (
        serving(Server(tmp_path, lambda _, count: "500" if count < 8 else None)) as server,
        Client(settings) as client,
    ):
        client.send("GET", f"{server.url}/a")
    limits = [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(waits) == len(limits)
    assert all(0 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert len({wait / limit for wait, limit in zip(waits, limits, strict=True)}) == len(limits)

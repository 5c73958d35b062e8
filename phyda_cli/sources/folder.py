"""A download folder and its manifest: whose data it holds, which files are complete, and their
checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phyda_cli.errors import UsageError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import publish_text, sha256
from phyda_cli.files.resume import changed, read_record

__all__ = ["MANIFEST", "Folder", "alone"]

MANIFEST = "manifest.json"
_OTHER_CONTENT = ("*.nc", "native_*.npz")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """The folder ``path``, made if need be, to ourselves, without leftovers of a killed download.

    Raises BusyError when another download works there.
    """
    with locked(path / ".lock", f"another download is filling {path}"):
        for left in path.glob(".*.part"):
            left.unlink()
        yield


class Folder:
    """The manifest of a folder, in memory and, after every change, on disk.

    ``origins`` says for each kind of file (``analysis``, ``forecast``) what it was asked of; a
    folder has one of each.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / MANIFEST
        content = read_record(self._file) if self._file.exists() else {}
        self.origins: dict[str, dict[str, Any]] = content.get("origins", {})
        self.files: dict[str, dict[str, Any]] = content.get("files", {})

    def claim(self, kind: str, origin: dict[str, Any]) -> None:
        """Say that files of ``kind`` come from ``origin``. Raises UsageError when the folder holds
        others."""
        before = self.origins.get(kind)
        found = sorted(p.name for pattern in _OTHER_CONTENT for p in self.path.glob(pattern))
        if before is None and kind == "analysis" and found:
            raise UsageError(
                f"{self.path} holds files of another origin: {', '.join(found[:3])}",
                hint="choose another folder with --out",
            )
        if before is not None and (different := changed(before, origin)):
            was, now = ("; ".join(f"{k} {d.get(k)}" for k in different) for d in (before, origin))
            raise UsageError(
                f"{self.path} holds {kind} files of another request: {was}, now {now}",
                hint="one folder holds one source; choose another folder with --out",
            )
        self.origins[kind] = origin

    def complete(self, name: str, verify: bool = False) -> bool:
        """Whether ``name`` is listed and has its size, with ``verify`` also its checksum."""
        path, entry = self.path / name, self.files.get(name)
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        return not verify or sha256(path) == entry["sha256"]

    def add(self, name: str, **facts: Any) -> None:
        """List a finished file with its size, checksum and ``facts``."""
        path = self.path / name
        self.files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path), **facts}
        self.save()

    def save(self) -> None:
        """Write the manifest."""
        content = {"origins": self.origins, "files": dict(sorted(self.files.items()))}
        publish_text(self._file, json.dumps(content, indent=1))

"""A Zarr store behind a plain HTTP server, read only: what public buckets are."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from phyda_cli.errors import InputError
from phyda_cli.sources.http import Client

__all__ = ["HttpStore"]

_ABSENT = {403, 404}  # a bucket that may not be listed answers 403 for an object it has not
_CACHE_BYTES = 256 << 20
# abstract in zarr's Store, never called
READ_ONLY = "a store over HTTP is read key by key, neither written nor listed"


class HttpStore(Store):
    """Keys are paths below ``url``. Recent objects are kept in memory: a chunk often holds the end
    of one month and the next's start."""

    supports_writes = supports_deletes = supports_listing = False  # type: ignore[assignment]

    def __init__(self, client: Client, url: str) -> None:
        super().__init__(read_only=True)
        self.client = client
        self.url = url.rstrip("/")
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpStore) and other.url == self.url

    def __str__(self) -> str:
        return self.url

    def size(self, key: str) -> int:
        """Bytes of an object, 0 when it does not exist."""
        answer = self.client.send("HEAD", f"{self.url}/{key}")
        return int(answer.headers.get("Content-Length", 0)) if answer.ok else 0

    def fetch(self, key: str) -> bytes | None:
        """The object, None when it does not exist. Raises InputError."""
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        answer = self.client.send("GET", f"{self.url}/{key}")
        if answer.status_code in _ABSENT:
            return None
        if not answer.ok:
            raise InputError(
                f"{self.url}/{key}: the server answers {answer.status_code} {answer.reason}"
            )
        with self._lock:
            self._recent[key] = answer.content
            while sum(map(len, self._recent.values())) > _CACHE_BYTES:
                self._recent.popitem(last=False)
        return answer.content

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        if byte_range is not None:
            raise InputError(f"{self.url} is sharded, which is not supported")
        content = await asyncio.to_thread(self.fetch, key)
        return (
            None
            if content is None
            else (prototype or default_buffer_prototype()).buffer.from_bytes(content)
        )

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError(READ_ONLY)

    async def delete(self, key: str) -> None:
        raise NotImplementedError(READ_ONLY)

    def list(self) -> AsyncIterator[str]:
        raise NotImplementedError(READ_ONLY)

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError(READ_ONLY)

    def list_dir(self, prefix: str) -> Any:
        raise NotImplementedError(READ_ONLY)

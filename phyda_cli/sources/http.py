"""HTTP that survives bad networks: every request is repeated after lost connections, cut bodies,
429 and 5xx.

Waits grow exponentially and are drawn at random below their limit ("full jitter"), so that many
clients that failed together do not come back together; a server's Retry-After is a lower bound.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from phyda_cli.errors import InputError
from phyda_cli.settings.data import RetrySettings

__all__ = ["PLAIN_FILES", "Client"]

T = TypeVar("T")

PLAIN_FILES = (
    "on a machine without network: get NetCDF files some other way and give them to "
    "`phyda preprocess FILES… --out train.zarr`"
)
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_ATTEMPTS_OFFLINE = 3  # of a host that has never answered
_BLOCK = 1 << 20


class Client:
    """A pool of connections. ``received`` counts the bytes of all bodies; ``report`` gets a line
    for every repeated request."""

    def __init__(
        self, settings: RetrySettings | None = None, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self.settings = settings or RetrySettings()
        self.received = 0
        self._report = report
        self._answered: set[str] = set()
        self._closed = threading.Event()
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = (
            "identity"  # Content-Length is then the size of what arrives
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=self.settings.connections))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._session.close()

    def stop(self) -> None:
        """End the waits of all threads."""
        self._closed.set()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise InputError when the client is closed meanwhile."""
        if self._closed.wait(seconds):
            raise InputError("the download was stopped")

    def send(self, method: str, url: str, **options: Any) -> requests.Response:
        """The complete answer, whatever its status unless that is a passing one (429, 5xx);
        ``options`` are those of requests.

        Raises InputError, naming the host, when all attempts fail.
        """

        def once() -> requests.Response:
            answer = self._session.request(method, url, timeout=self.settings.timeout, **options)
            self.received += len(answer.content)
            _refuse(answer, answer.status_code in _PASSING)
            return answer

        return self._persist(url, once)

    def download(self, url: str, path: Path, size: int) -> None:
        """Write the body, of ``size`` bytes, to ``path``, continuing what is there already.

        Raises InputError, naming the host, when all attempts fail.
        """

        def once() -> None:
            start = path.stat().st_size if path.exists() else 0
            if start == size:
                return
            if start > size:
                path.unlink()
                start = 0
            headers = {"Range": f"bytes={start}-"} if start else {}
            with self._session.get(
                url, timeout=self.settings.timeout, stream=True, headers=headers
            ) as answer:
                _refuse(answer, not answer.ok)
                with open(path, "ab" if answer.status_code == 206 else "wb") as file:
                    for block in answer.iter_content(_BLOCK):
                        file.write(block)
                        self.received += len(block)
            if path.stat().st_size != size:
                raise requests.RequestException(f"{path.stat().st_size} bytes of {size} arrived")

        self._persist(url, once)

    def _persist(self, url: str, once: Callable[[], T]) -> T:
        host = urlsplit(url).netloc
        for attempt in range(1, self.settings.attempts + 1):
            try:
                result = once()
            except requests.RequestException as error:
                if not isinstance(error, requests.ConnectionError | requests.Timeout):
                    self._answered.add(host)
                unknown = host not in self._answered
                if attempt >= (
                    min(self.settings.attempts, _ATTEMPTS_OFFLINE)
                    if unknown
                    else self.settings.attempts
                ):
                    raise _gave_up(host, url, attempt, error) from error
                wait = self._wait(attempt, error.response)
                self._report(
                    f"{host}: {_reason(error)}; trying again in {wait:.1f} s ({attempt} of "
                    f"{self.settings.attempts})"
                )
                self.sleep(wait)
            else:
                self._answered.add(host)
                return result
        raise AssertionError("an attempt returns or raises")

    def _wait(self, attempt: int, answer: requests.Response | None) -> float:
        longest = min(self.settings.longest_wait, self.settings.first_wait * 2.0 ** (attempt - 1))
        asked = "" if answer is None else answer.headers.get("Retry-After", "")
        spread = random.uniform(0, longest)  # nosec B311 # no secret
        return spread + (min(float(asked), self.settings.longest_wait) if asked.isdigit() else 0.0)


def _refuse(answer: requests.Response, refused: bool) -> None:
    if refused:
        raise requests.HTTPError(f"{answer.status_code} {answer.reason}", response=answer)


def _reason(error: requests.RequestException) -> str:
    if error.response is not None or type(error) is requests.RequestException:
        return str(error)
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the body was cut short"
    return "connection lost or refused, or host unknown"


def _gave_up(host: str, url: str, attempts: int, error: requests.RequestException) -> InputError:
    what = (
        f"{host} answers {error}"
        if error.response is not None
        else f"cannot reach {host}: {_reason(error)}"
    )
    return InputError(
        f"{what} ({attempts} attempts, {url})",
        hint=f"the same command continues where this one stopped; {PLAIN_FILES}",
    )

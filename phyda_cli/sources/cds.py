"""The Copernicus Climate Data Store: submit a request, wait in its queue, fetch the result.

Speaks the store's public interface (OGC API - Processes,
https://cds.climate.copernicus.eu/api/retrieve/v1/docs) and reads the same settings as cdsapi
(``~/.cdsapirc``, ``CDSAPI_URL``, ``CDSAPI_KEY``). Jobs are kept by their address beside the data,
so that a download that was killed finds its place in the queue again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from phyda_cli.errors import InputError, UsageError
from phyda_cli.files.publish import publish_text
from phyda_cli.sources.http import Client

__all__ = ["Cds", "credentials"]

_LONGEST_POLL = 60.0
_MOST_REDIRECTS = 5
_WAITING = ("accepted", "running")


def credentials(default_url: str) -> tuple[str, str]:
    """Address and key of the store from the environment or ``~/.cdsapirc``. Raises UsageError when
    there is no key."""
    path = Path(os.environ.get("CDSAPI_RC", "~/.cdsapirc")).expanduser()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    stated = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    key = os.environ.get("CDSAPI_KEY", stated.get("key", ""))
    if not key:
        raise UsageError(
            f"the Climate Data Store needs a key: neither CDSAPI_KEY nor {path} has one",
            hint="register at https://cds.climate.copernicus.eu, copy url and key from your "
            "profile into ~/.cdsapirc,"
            " and accept the licence on the pages of both ERA5 data sets; or use --source "
            "weatherbench2, which needs no key",
        )
    return os.environ.get("CDSAPI_URL", stated.get("url", default_url)), key


class Cds:
    """A user's access to the store."""

    def __init__(
        self, client: Client, url: str, key: str, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"PRIVATE-TOKEN": key}
        self._report = report

    def submit(self, dataset: str, request: dict[str, Any], record: Path) -> str:
        """Address of the job of ``request``: that in ``record`` if it is there, else a new one,
        which is then recorded."""
        if record.exists():
            known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
            if known["request"] == request:
                return str(known["job"])
        answer = self._ask(
            "POST",
            f"{self._url}/retrieve/v1/processes/{dataset}/execution",
            dataset,
            json={"inputs": request},
        )
        links = {link.get("rel"): link.get("href") for link in answer.get("links", [])}
        job = links.get("monitor") or f"{self._url}/retrieve/v1/jobs/{answer['jobID']}"
        publish_text(record, json.dumps({"job": job, "request": request}))
        return str(job)

    def retrieve(self, dataset: str, request: dict[str, Any], path: Path, record: Path) -> None:
        """Put the result of ``request`` at ``path``; continues a job in ``record`` and a file begun
        before. Raises InputError."""
        job = self.submit(dataset, request, record)
        result = self._wait(job, dataset)
        if result is None:  # results are kept for some days only
            record.unlink()
            path.unlink(missing_ok=True)
            job = self.submit(dataset, request, record)
            result = self._wait(job, dataset)
        if result is None:
            raise InputError(
                f"{self._url} has lost the job {job}", hint="start the same command again"
            )
        asset = result["asset"]["value"]
        self._client.download(urljoin(job, asset["href"]), path, int(asset["file:size"]))

    def _wait(self, job: str, dataset: str) -> dict[str, Any] | None:
        """The results of ``job`` once it has succeeded, None when the store does not know it (any
        more)."""
        pause, before = self._client.settings.first_wait, ""
        while True:
            answer = self._send("GET", job)
            if answer.status_code in (404, 410):
                return None
            status = str(_content(answer, dataset)["status"])
            if status in ("dismissed", "deleted"):
                return None
            if status not in _WAITING:
                return self._ask(
                    "GET", f"{job}/results", dataset
                )  # of a failed job: the reason, as an error
            if status != before:
                self._report(
                    f"{dataset}: the request is "
                    f"{'in the queue' if status == 'accepted' else 'being worked on'}"
                )
            before = status
            self._client.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_POLL)

    def _ask(self, method: str, url: str, dataset: str, **options: Any) -> dict[str, Any]:
        return _content(self._send(method, url, **options), dataset)

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        """The answer to a request that carries the key, which goes to the store's own origin only.

        Addresses of jobs come from the store's answers, so they are checked, and a redirect is not
        followed. Raises InputError when an address is on another origin.
        """
        target = url
        for _ in range(_MOST_REDIRECTS):
            if _origin(target) != _origin(self._url):
                raise InputError(
                    f"the Climate Data Store names an address on another host, "
                    f"{urlsplit(target).netloc}; the key was not sent there",
                    hint=f"check CDSAPI_URL or the url in ~/.cdsapirc: it is {self._url}",
                )
            answer = self._client.send(
                method, target, headers=self._headers, allow_redirects=False, **options
            )
            if not answer.is_redirect:
                return answer
            target = urljoin(target, answer.headers["Location"])
        raise InputError(f"{urlsplit(self._url).netloc} redirects {url} in a circle")


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or {"http": 80, "https": 443}.get(parts.scheme),
    )


def _content(answer: requests.Response, dataset: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises InputError with the store's own words, and what to do
    about a key or a licence."""
    try:
        content = answer.json()
    except ValueError:
        content = {}
    if answer.ok and isinstance(content, dict) and content:
        return content
    said = (
        ": ".join(str(content[k]) for k in ("title", "detail") if content.get(k))
        if isinstance(content, dict)
        else ""
    )
    hint = "a request can be made smaller with fewer --levels, --variables or --hours or an --area"
    if answer.status_code == 401:
        hint = (
            "the key is not accepted: copy it again from your profile on "
            "https://cds.climate.copernicus.eu into ~/.cdsapirc"
        )
    elif "licence" in said:
        hint = (
            "accept it once at "
            f"https://cds.climate.copernicus.eu/datasets/{dataset}?tab=download#manage-licences, "
            "then start again"
        )
    raise InputError(
        f"the Climate Data Store answers {answer.status_code} {answer.reason} {said}".rstrip(),
        hint=hint,
    )

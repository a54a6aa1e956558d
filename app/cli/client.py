"""Asking a running gateway over HTTP, with nothing but the standard library."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from app.cli import recommendation_text as terminal
from app.errors import ConvictionError, InvalidRequest, InvalidSettings
from app.settings.addresses import is_loopback
from app.settings.client import ClientSettings
from app.settings.loading import load

TIMEOUT_S = 660.0
"""Longer than any gateway waits for a backend."""

Json = dict[str, Any]


class Unreachable(ConvictionError):
    """Nothing that is a gateway answers at the address."""


class Refused(ConvictionError):
    """The gateway answered with a problem document."""

    def __init__(self, document: Json) -> None:
        super().__init__(str(document.get("detail", "")))
        self.document = document


def body(ticker: str | None, metrics: str | None, as_of: str | None, *, brief: bool) -> Json:
    """The request's body; `InvalidRequest` for a file of metrics that is no JSON object."""
    given = {
        "ticker": ticker,
        "as_of": as_of,
        "metrics": None if metrics is None else _read(metrics),
        "detail": "brief" if brief else "full",
    }
    return {name: value for name, value in given.items() if value is not None}


def _read(file: str) -> Json:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"{file} holds no JSON object")
    return document


def route(backend: str | None, fallback: str | None) -> dict[str, str]:
    """The headers that say who is to answer, and who in its place; None: as the gateway is set."""
    named = {"X-Backend": backend, "X-Fallback": fallback}
    return {name: value for name, value in named.items() if value is not None}


def ask(body: Json, route: Mapping[str, str]) -> Json:
    """The gateway's answer to a question. Raises as `call` does."""
    return call("POST", "/v1/recommendations", body, route)


def told(error: InvalidSettings | Unreachable | Refused) -> int:
    """Say on standard error why a command ends; its exit status: 1 refused, 2 wrong settings, 3 not reached."""
    if isinstance(error, Refused):
        print(terminal.problem(error.document), file=sys.stderr)
        return 1
    print(f"conviction: {error.detail}", file=sys.stderr)
    return 3 if isinstance(error, Unreachable) else 2


def call(method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Json:
    """The gateway's answer; empty where it has none to give, as to a DELETE.

    Raises `Refused` with its problem document, or `Unreachable`.
    """
    with _answered(method, path, body, headers or {}) as (response, url):
        return {} if response.status == 204 else _document(response.read(), url)


def lines(path: str, body: Json, headers: Mapping[str, str]) -> Iterator[Json]:
    """The lines of JSON that the gateway answers a POST with, as they come. Raises as `call` does."""
    with _answered("POST", path, body, headers) as (response, url):
        for line in response:
            yield _document(line, url)


@contextmanager
def _answered(
    method: str, path: str, body: Json | None, headers: Mapping[str, str]
) -> Iterator[tuple[HTTPResponse, str]]:
    """A response that is no error, and the gateway's address."""
    settings = load(ClientSettings)
    said = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    if settings.api_key is not None:
        said["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    content = None if body is None else json.dumps(body).encode()
    request = Request(settings.url + path, content, said, method=method)  # noqa: S310 - http(s) only
    try:
        with _opener(settings.url).open(request, timeout=TIMEOUT_S) as response:
            yield response, settings.url
    except HTTPError as error:
        raise Refused(_document(error.read(), settings.url)) from None
    except URLError as error:
        raise Unreachable(f"no gateway answers at {settings.url}: {error.reason}") from None
    except (HTTPException, OSError) as error:
        raise Unreachable(f"the gateway at {settings.url} broke off: {error}") from None


def _opener(url: str) -> OpenerDirector:
    """Goes through the environment's proxy, but not to this machine."""
    return build_opener(ProxyHandler({})) if is_loopback(urlsplit(url).hostname or "") else build_opener()


def _document(content: bytes, url: str) -> Json:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unreachable(f"what answers at {url} is not a gateway")
    return document

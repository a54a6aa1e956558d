"""An HTTP client of a running gateway, built on the standard library alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from app.cli.recommendation_text import problem
from app.cli.streams import OutputFailed
from app.errors import ConvictionError
from app.settings.addresses import proxy_for
from app.settings.client import ClientSettings
from app.settings.loading import load

TIMEOUT_S = 660.0
"""More than the longest backend timeout that a gateway allows."""

Json = dict[str, Any]


class Unreachable(ConvictionError):
    """No gateway answers at the address."""


class Refused(ConvictionError):
    """The gateway answered with a problem document."""

    def __init__(self, document: Json) -> None:
        super().__init__(problem(document))
        self.document = document


EXIT_STATUS = {Refused: 1, Unreachable: 3, OutputFailed: 4}


def exit_status(error: ConvictionError) -> int:
    """Return a command's exit status: that of the error's kind, 2 for any other, such as wrong settings."""
    return next((status for kind, status in EXIT_STATUS.items() if isinstance(error, kind)), 2)


def call(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Json:
    """Return the gateway's answer, {} if it is empty. Raises `Refused` or `Unreachable`."""
    with _response(method, path, body, headers or {}) as (response, url):
        return {} if response.status == 204 else _document(response.read(), url)


def lines(path: str, body: Json, headers: Mapping[str, str]) -> Iterator[Json]:
    """Yield the lines of JSON that answer a POST, as they arrive. Raises as `call` does."""
    with _response("POST", path, body, headers) as (response, url):
        for line in response:
            yield _document(line, url)


def events(path: str, body: Json, headers: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
    """Yield the name and the document of each server-sent event that answers a POST. Raises as `call` does."""
    name = ""
    with _response("POST", path, body, {"Accept": "text/event-stream", **headers}) as (response, url):
        for line in response:
            field, _, value = line.rstrip(b"\r\n").partition(b": ")
            if field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                yield name, _document(value, url)


def text_lines(path: str, media_type: str) -> Iterator[str]:
    """Yield the lines of text that answer a GET, as they arrive. Raises as `call` does."""
    with _response("GET", path, None, {"Accept": media_type}) as (response, url):
        if response.headers.get_content_type() != media_type:
            raise Unreachable(f"the server at {url} does not write {media_type}: it is no gateway, or an older one")
        for line in response:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


class NoRedirects(HTTPRedirectHandler):
    """Answers a redirect as an error: the request would take the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextmanager
def _response(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Iterator[tuple[HTTPResponse, str]]:
    """Yield a successful response and the gateway's URL."""
    settings = load(ClientSettings)
    headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    content = None if body is None else json.dumps(body).encode()
    request = Request(settings.url + path, content, headers, method=method)  # noqa: S310 - http(s) only
    try:
        try:
            with _opener(settings.url).open(request, timeout=TIMEOUT_S) as response:
                yield response, settings.url
        except HTTPError as error:
            raise Refused(_document(error.read(), settings.url)) from None
    except URLError as error:
        raise Unreachable(f"no gateway answers at {settings.url}: {error.reason}") from None
    except (HTTPException, OSError) as error:
        raise Unreachable(f"the gateway at {settings.url} closed the connection: {error}") from None


def _opener(url: str) -> OpenerDirector:
    """Return an opener that uses the environment's proxy."""
    proxy = proxy_for(url)
    return build_opener(ProxyHandler({urlsplit(url).scheme: proxy} if proxy else {}), NoRedirects)


def _document(content: bytes, url: str) -> Json:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unreachable(f"the server at {url} is not a gateway")
    return document

"""Authentication by API key or, where keys are off, by a Host header that names this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import console, openapi
from app.auth.key_cache import KeyCache
from app.auth.key_file import Keyring
from app.auth.principal import Principal, local_principal
from app.errors import Forbidden, Unauthorized
from app.pricing.limits import Limits
from app.settings.addresses import is_loopback

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/"})
"""Paths without a key: for health probes, and for the page that asks its user for a key."""
DOCS_PATHS = frozenset({openapi.DOCUMENT, openapi.PAGE})
"""Paths without a key unless the settings close them; they show nothing of the settings but whether there are keys."""


class Authentication:
    """Sets `principal` in `scope["state"]`, and `authenticate`, which returns it again as long as the key is valid.

    Raises `Unauthorized`, `Forbidden`, and `StoreUnavailable` if the store cannot look up an issued key.
    """

    def __init__(self, app: ASGIApp, keys: Keyring | None, limits: Limits, open_docs: bool) -> None:
        self.app = app
        self._keys = keys
        self._open_paths = OPEN_PATHS | DOCS_PATHS if open_docs else OPEN_PATHS
        self._open_folders = (console.FOLDER, f"{openapi.ASSETS}/") if open_docs else (console.FOLDER,)
        self._local = local_principal(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._keys is None:
                _require_loopback_host(headers)
                await _set_principal(scope, self._authenticate_local)
            elif scope["path"] not in self._open_paths and not scope["path"].startswith(self._open_folders):
                issued: KeyCache = scope["app"].state.resources.keys
                await _set_principal(scope, partial(_authenticate, headers, self._keys, issued))
        await self.app(scope, receive, send)

    async def _authenticate_local(self) -> Principal:
        return self._local


async def _set_principal(scope: Scope, authenticate: Callable[[], Awaitable[Principal]]) -> None:
    scope.setdefault("state", {}).update(principal=await authenticate(), authenticate=authenticate)


def _require_loopback_host(headers: Headers) -> None:
    """Refuse a foreign Host name: another site's DNS may point to this machine (DNS rebinding)."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(_without_port(hosts[0])):
        raise Forbidden("without API keys only requests to localhost are answered")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


async def _authenticate(headers: Headers, keys: Keyring, issued: KeyCache) -> Principal:
    """Return the principal of the key in either header. Keys from the file are valid without the store."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token if scheme.casefold() == "bearer" else ""
    given = [key for key in (bearer.strip(), headers.get("x-api-key", "").strip()) if key]
    for key in given:
        principal = keys.principal(key)
        if principal is not None:
            return principal
    for key in given:
        principal = await issued.principal(key)
        if principal is not None:
            return principal
    raise Unauthorized("an API key is required, as Authorization: Bearer or X-API-Key")

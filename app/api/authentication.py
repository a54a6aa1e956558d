"""Who may ask: holders of a key, or, where keys are off, this machine only."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import console
from app.auth.key_cache import KeyCache
from app.auth.key_file import Keyring
from app.auth.principal import Principal, local_principal
from app.errors import Forbidden, Unauthorized
from app.pricing.limits import Limits
from app.settings.addresses import is_loopback

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/"})
"""For probes, which hold no keys, and for the page that asks people for theirs."""


class Guard:
    """Lets through whoever may ask, as `scope["state"]["principal"]`; raises for the rest.

    That is `Unauthorized`, `Forbidden`, or `StoreUnavailable` where an issued key cannot be checked.
    """

    def __init__(self, app: ASGIApp, keys: Keyring | None, limits: Limits) -> None:
        self.app = app
        self._keys = keys
        self._local = local_principal(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._keys is None:
                _require_this_machine(headers)
                _admit(scope, self._local)
            elif scope["path"] not in OPEN_PATHS and not scope["path"].startswith(console.FOLDER):
                issued: KeyCache = scope["app"].state.resources.keys
                _admit(scope, await _require_key(headers, self._keys, issued))
        await self.app(scope, receive, send)


def _admit(scope: Scope, principal: Principal) -> None:
    scope.setdefault("state", {})["holder"] = principal


def _require_this_machine(headers: Headers) -> None:
    """Refuse a name that another site may have made to point here."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(_without_port(hosts[0])):
        raise Forbidden("without keys only requests to localhost are answered")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


async def _require_key(headers: Headers, keys: Keyring, issued: KeyCache) -> Principal:
    """The holder of the key that either header gives. The file's keys open whatever becomes of the store."""
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
    raise Unauthorized("a key is needed, as Authorization: Bearer or X-API-Key")

"""Who may ask: holders of a key from the keys file, or, where there is none, this machine only."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import Forbidden, InvalidSettings, Unauthorized
from app.settings import is_loopback

SHORTEST = 16
"""Characters of a key."""

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
"""For probes, which hold no keys."""

log = logging.getLogger(__name__)


class Keyring:
    """The known keys, as hashes by their holders' names."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._holders = {_digest(key): name for name, key in keys.items()}

    def holder(self, key: str) -> str | None:
        """Whose key it is; None if nobody's. Takes the same time for every key."""
        given, holder = _digest(key), None
        for known, name in self._holders.items():
            if hmac.compare_digest(known, given):
                holder = name
        return holder


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def load_keys(path: Path | None) -> Keyring | None:
    """The keys in a file, one a line, `key` or `name:key`; None for no file.

    Raises `InvalidSettings`, naming the line and never the key.
    """
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8").splitlines()
        shared = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        raise InvalidSettings("CONVICTION_API_KEYS_FILE: the file cannot be read") from None
    if shared:
        log.warning("the keys file can be read by others than its owner; chmod 600 keeps it private")
    keys: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, key = (part.strip() for part in (line if ":" in line else f"key {number}:{line}").split(":", 1))
        if not name or len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidSettings(
                f"CONVICTION_API_KEYS_FILE: line {number} must be key or name:key, the key "
                f"{SHORTEST} or more ASCII characters without spaces"
            )
        if name in keys or key in keys.values():
            raise InvalidSettings(f"CONVICTION_API_KEYS_FILE: line {number} repeats a name or a key")
        keys[name] = key
    if not keys:
        raise InvalidSettings("CONVICTION_API_KEYS_FILE: the file holds no key")
    return Keyring(keys)


class Guard:
    """Lets through whoever may ask; raises `Unauthorized` or `Forbidden` for the rest."""

    def __init__(self, app: ASGIApp, keys: Keyring | None) -> None:
        self.app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._keys is None:
                _require_this_machine(headers)
            elif scope["path"] not in OPEN_PATHS:
                scope.setdefault("state", {})["holder"] = _require_key(headers, self._keys)
        await self.app(scope, receive, send)


def _require_this_machine(headers: Headers) -> None:
    """Refuse a name that another site may have made to point here."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(_without_port(hosts[0])):
        raise Forbidden("without keys only requests to localhost are answered")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


def _require_key(headers: Headers, keys: Keyring) -> str:
    """The holder of the key that either header gives."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token if scheme.casefold() == "bearer" else ""
    for given in (bearer.strip(), headers.get("x-api-key", "").strip()):
        holder = keys.holder(given)
        if holder is not None:
            return holder
    raise Unauthorized("a key is needed, as Authorization: Bearer or X-API-Key")

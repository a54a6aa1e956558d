"""The keys file: keys of the first admins, who issue the others."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from app.auth.principal import Principal, file_principal
from app.errors import InvalidSettings
from app.pricing.limits import Limits

MIN_LENGTH = 16
"""Characters of a key."""

MOUNTED = Path("/run/secrets")
"""Where a container's secrets are mounted, with the file modes of the host."""

log = logging.getLogger(__name__)


class Keyring:
    """The principals of the file's keys, by the SHA-256 of the key."""

    def __init__(self, keys: Mapping[str, str], limits: Limits) -> None:
        self._principals = {_digest(key): file_principal(name, limits) for name, key in keys.items()}

    def principal(self, key: str) -> Principal | None:
        """Return the key's principal; None if there is none. Takes the same time for every key."""
        given, found = _digest(key), None
        for known, principal in self._principals.items():
            if hmac.compare_digest(known, given):
                found = principal
        return found


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def load_keys(path: Path | None, limits: Limits) -> Keyring | None:
    """Load a file of lines `key` or `name:key`, and give each key the limits; None without a file.

    Raises `InvalidSettings`, which names the line and never the key.
    """
    if path is None:
        return None
    try:
        lines = path.read_text("utf-8").splitlines()
        shared = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        raise InvalidSettings(
            "CONVICTION_API_KEYS_FILE: the file cannot be read; make one of name:key lines, readable by the gateway"
        ) from None
    if shared and path.parent != MOUNTED:
        log.warning("other users than its owner can read the keys file; run chmod 600 on it")
    keys: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, key = (part.strip() for part in (line if ":" in line else f"key {number}:{line}").split(":", 1))
        if not name or len(key) < MIN_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidSettings(
                f"CONVICTION_API_KEYS_FILE: line {number} must be key or name:key, the key "
                f"{MIN_LENGTH} or more ASCII characters without spaces"
            )
        if name in keys or key in keys.values():
            raise InvalidSettings(f"CONVICTION_API_KEYS_FILE: line {number} repeats a name or a key")
        keys[name] = key
    if not keys:
        raise InvalidSettings("CONVICTION_API_KEYS_FILE: the file holds no key; write a line name:key into it")
    return Keyring(keys, limits)

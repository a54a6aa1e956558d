"""Who asks: the holder of a key, or this machine where keys are off, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from app.contract.completion import BackendName
from app.errors import Forbidden
from app.pricing.limits import Limits, Scope
from app.pricing.prices import NANO
from app.settings.gateway import Settings

FILE_PREFIX = "file:"


@dataclass(frozen=True)
class Principal:
    """Whom a request is answered for and charged to."""

    id: str
    """Of an issued key, its id; `file:<name>` for a line of the keys file; `local` where keys are off."""
    name: str
    backends: frozenset[BackendName] | None
    """Those it may ask; None: all."""
    admin: bool
    """May issue and revoke keys, of any scope."""
    limits: Limits

    @cached_property
    def scope(self) -> Scope:
        """What its use is counted under."""
        return Scope(f"key:{self.id}", self.limits)


def default_limits(settings: Settings) -> Limits:
    """What the settings grant where a key says nothing else."""
    usd = settings.key_usd_per_day
    return Limits(
        settings.key_requests_per_minute,
        settings.key_tokens_per_minute,
        None if usd is None else int(usd * NANO),
    )


def local_principal(limits: Limits) -> Principal:
    """Whoever is on this machine, where keys are off."""
    return Principal("local", "local", None, True, limits)


def file_principal(name: str, limits: Limits) -> Principal:
    """Whoever has a key of the keys file."""
    return Principal(f"{FILE_PREFIX}{name}", name, None, True, limits)


def may_ask(principal: Principal, backend: BackendName) -> bool:
    """Whether the holder's scope includes the backend."""
    return principal.backends is None or backend in principal.backends


def require_backend(principal: Principal, backend: BackendName) -> None:
    """Raise `Forbidden` where the holder's scope leaves the backend out."""
    if not may_ask(principal, backend):
        allowed = ", ".join(sorted(principal.backends or ()))
        raise Forbidden(f"this key may not ask {backend}; it may ask {allowed}")


def require_admin(principal: Principal) -> None:
    """Raise `Forbidden` for any but an admin."""
    if not principal.admin:
        raise Forbidden("this takes an admin's key")

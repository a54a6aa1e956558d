"""Who asks: the holder of a key, or this machine where keys are off, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from app.backends.base import BackendName
from app.pricing.prices import NANO
from app.errors import Forbidden
from app.settings.gateway import Settings
from app.pricing.limits import Allowance, Scope

FILE_PREFIX = "file:"


@dataclass(frozen=True)
class Holder:
    """Whom a request is answered for and charged to."""

    id: str
    """Of an issued key, its id; `file:<name>` for a line of the keys file; `local` where keys are off."""
    name: str
    backends: frozenset[BackendName] | None
    """Those it may ask; None: all."""
    admin: bool
    """May issue and revoke keys, of any scope."""
    allowance: Allowance

    @cached_property
    def scope(self) -> Scope:
        """What its use is counted under."""
        return Scope(f"key:{self.id}", self.allowance)


def default_allowance(settings: Settings) -> Allowance:
    """What the settings grant where a key says nothing else."""
    usd = settings.key_usd_per_day
    return Allowance(
        settings.key_requests_per_minute,
        settings.key_tokens_per_minute,
        None if usd is None else int(usd * NANO),
    )


def local_holder(allowance: Allowance) -> Holder:
    """Whoever is on this machine, where keys are off."""
    return Holder("local", "local", None, True, allowance)


def file_holder(name: str, allowance: Allowance) -> Holder:
    """Whoever has a key of the keys file."""
    return Holder(f"{FILE_PREFIX}{name}", name, None, True, allowance)


def may_ask(holder: Holder, backend: BackendName) -> bool:
    """Whether the holder's scope includes the backend."""
    return holder.backends is None or backend in holder.backends


def require_backend(holder: Holder, backend: BackendName) -> None:
    """Raise `Forbidden` where the holder's scope leaves the backend out."""
    if not may_ask(holder, backend):
        allowed = ", ".join(sorted(holder.backends or ()))
        raise Forbidden(f"this key may not ask {backend}; it may ask {allowed}")


def require_admin(holder: Holder) -> None:
    """Raise `Forbidden` for any but an admin."""
    if not holder.admin:
        raise Forbidden("this takes an admin's key")

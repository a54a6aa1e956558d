"""The principal of a request: the client of a key, or this machine if keys are off."""

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
    """Who is allowed and charged a request."""

    id: str
    """The id of an issued key, `file:<name>` for a line of the keys file, or `local` if keys are off."""
    name: str
    backends: frozenset[BackendName] | None
    """Backends it may use; None for all."""
    admin: bool
    """Whether it may issue and revoke keys."""
    limits: Limits
    chat: bool = True
    """Whether it may send chat completions, whose prompts are its own."""

    @cached_property
    def scope(self) -> Scope:
        """The scope that its usage is counted in."""
        return Scope(f"key:{self.id}", self.limits)


def default_limits(settings: Settings) -> Limits:
    """Return the settings' limits for keys that set none."""
    usd = settings.key_usd_per_day
    return Limits(
        settings.key_requests_per_minute,
        settings.key_tokens_per_minute,
        None if usd is None else int(usd * NANO),
    )


def local_principal(limits: Limits) -> Principal:
    """Return the principal of all requests if keys are off."""
    return Principal("local", "local", None, True, limits)


def file_principal(name: str, limits: Limits) -> Principal:
    """Return the principal of a line of the keys file."""
    return Principal(f"{FILE_PREFIX}{name}", name, None, True, limits)


def may_use(principal: Principal, backend: BackendName) -> bool:
    """Return whether the principal may use the backend."""
    return principal.backends is None or backend in principal.backends


def require_backend(principal: Principal, backend: BackendName) -> None:
    """Raise `Forbidden` if the principal may not use the backend."""
    if not may_use(principal, backend):
        allowed = ", ".join(sorted(principal.backends or ()))
        raise Forbidden(f"this key may not use {backend}; it may use {allowed}")


def require_chat(principal: Principal) -> None:
    """Raise `Forbidden` if the principal may not send chat completions."""
    if not principal.chat:
        raise Forbidden("this key may not send chat completions")


def require_admin(principal: Principal) -> None:
    """Raise `Forbidden` unless the principal is an admin."""
    if not principal.admin:
        raise Forbidden("an admin's key is required")

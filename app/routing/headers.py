"""The request headers that choose a backend, a fallback and an experiment's subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from app.contract.completion import ALL_BACKENDS, BACKEND_NAMES, BackendName
from app.errors import InvalidRequest, UnknownBackend

HEADER = "X-Backend"
FALLBACK = "X-Fallback"
SUBJECT = "X-Subject"

Choice = Literal["mistral", "gpt-4", "candidate", "cascade"]
CHOICES: tuple[Choice, ...] = (*ALL_BACKENDS, "cascade")
"""A backend, or the cascade of mistral and gpt-4."""

MAX_SUBJECT_LENGTH = 256

_BACKENDS = {name.casefold(): name for name in ALL_BACKENDS}
_CHOICES = {name.casefold(): name for name in CHOICES}


def named(name: str) -> BackendName | None:
    """Return the backend with this name, case-insensitively; None if there is none."""
    return _BACKENDS.get(name.strip().casefold())


def choose(given: Sequence[str]) -> Choice | None:
    """Return the choice that the header names, case-insensitively; None without it. Raises `UnknownBackend`."""
    if not given:
        return None
    choice = _CHOICES.get(",".join(given).strip().casefold())
    if choice is None:
        raise UnknownBackend(f"{HEADER} must be one of {', '.join(CHOICES)}")
    return choice


def choose_fallback(given: Sequence[str], choice: Choice | None) -> BackendName | None:
    """Return the fallback that the header names; None without it. Raises `InvalidRequest` if it equals `choice`."""
    if not given:
        return None
    name = named(",".join(given))
    if name not in BACKEND_NAMES:
        raise UnknownBackend(f"{FALLBACK} must be one of {', '.join(BACKEND_NAMES)}")
    if name == choice:
        raise InvalidRequest(f"{FALLBACK} must differ from {choice}, the backend that is asked first")
    return name


def backends_of(choice: Choice) -> tuple[BackendName, ...]:
    """Return the backends that a choice may ask, the first one first."""
    return BACKEND_NAMES if choice == "cascade" else (choice,)


def subject(given: Sequence[str]) -> str | None:
    """Return the subject that the header names; None without it. Raises `InvalidRequest`."""
    if not given:
        return None
    name = ",".join(given).strip()
    if not (0 < len(name) <= MAX_SUBJECT_LENGTH and name.isascii() and name.isprintable()):
        raise InvalidRequest(f"{SUBJECT} must be 1 to {MAX_SUBJECT_LENGTH} printable ASCII characters")
    return name

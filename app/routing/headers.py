"""What is to answer: what a header names, an experiment's arm or the default; and what, should that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from app.contract.completion import BACKEND_NAMES, BackendName
from app.errors import InvalidRequest, UnknownBackend

HEADER = "X-Backend"
FALLBACK = "X-Fallback"
SUBJECT = "X-Subject"

Choice = Literal["mistral", "gpt-4", "cascade"]
CHOICES: tuple[Choice, ...] = (*BACKEND_NAMES, "cascade")
"""A backend, or the first of them as far as it is sure and else the second."""

LONGEST_SUBJECT = 256

_BACKENDS = {name.casefold(): name for name in BACKEND_NAMES}
_CHOICES = {name.casefold(): name for name in CHOICES}


def named(name: str) -> BackendName | None:
    """The backend of a name, in any case."""
    return _BACKENDS.get(name.strip().casefold())


def choose(given: Sequence[str]) -> Choice | None:
    """What the header names, in any case; None without it; `UnknownBackend` for another name, or several."""
    if not given:
        return None
    choice = _CHOICES.get(",".join(given).strip().casefold())
    if choice is None:
        raise UnknownBackend(f"{HEADER} must be one of {', '.join(CHOICES)}")
    return choice


def choose_fallback(given: Sequence[str], choice: Choice | None) -> BackendName | None:
    """The backend that the header names, if it is there; `InvalidRequest` where that is the chosen one itself."""
    if not given:
        return None
    name = named(",".join(given))
    if name is None:
        raise UnknownBackend(f"{FALLBACK} must be one of {', '.join(BACKEND_NAMES)}")
    if name == choice:
        raise InvalidRequest(f"{FALLBACK} must name another backend than {choice}, which is asked first")
    return name


def asked_of(choice: Choice) -> tuple[BackendName, ...]:
    """The backends that may be asked."""
    return BACKEND_NAMES if choice == "cascade" else (choice,)


def subject(given: Sequence[str]) -> str | None:
    """Whom the header says that a request is for; `InvalidRequest` for what is no name."""
    if not given:
        return None
    name = ",".join(given).strip()
    if not (0 < len(name) <= LONGEST_SUBJECT and name.isascii() and name.isprintable()):
        raise InvalidRequest(f"{SUBJECT} must be 1 to {LONGEST_SUBJECT} printable ASCII characters")
    return name

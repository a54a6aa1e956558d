"""Which backend answers: the one a header names, else the default; and which in its place, should it fail."""

from __future__ import annotations

from collections.abc import Sequence

from app.backends.base import BACKEND_NAMES, BackendName
from app.errors import InvalidRequest, UnknownBackend

HEADER = "X-Backend"
FALLBACK = "X-Fallback"
_NAMES = {name.casefold(): name for name in BACKEND_NAMES}


def named(name: str) -> BackendName | None:
    """The backend of a name, in any case."""
    return _NAMES.get(name.strip().casefold())


def choose_backend(given: Sequence[str], default: BackendName) -> BackendName:
    """The backend that the header names, in any case; `UnknownBackend` for another name, or several."""
    if not given:
        return default
    return _known(given, HEADER)


def choose_fallback(given: Sequence[str], first: BackendName) -> BackendName | None:
    """The backend that the header names, if it is there; `InvalidRequest` where that is the first itself."""
    if not given:
        return None
    name = _known(given, FALLBACK)
    if name == first:
        raise InvalidRequest(f"{FALLBACK} must name another backend than {first}, which is asked first")
    return name


def _known(given: Sequence[str], header: str) -> BackendName:
    name = named(",".join(given))
    if name is None:
        raise UnknownBackend(f"{header} must be one of {', '.join(BACKEND_NAMES)}")
    return name

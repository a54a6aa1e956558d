"""Which backend answers: the one a header names, else the default."""

from __future__ import annotations

from collections.abc import Sequence

from app.backends.base import BACKEND_NAMES, BackendName
from app.errors import UnknownBackend

HEADER = "X-Backend"
_NAMES = {name.casefold(): name for name in BACKEND_NAMES}


def named(name: str) -> BackendName | None:
    """The backend of a name, in any case."""
    return _NAMES.get(name.strip().casefold())


def choose_backend(given: Sequence[str], default: BackendName) -> BackendName:
    """The backend that the header names, in any case; `UnknownBackend` for another name, or several."""
    if not given:
        return default
    name = named(",".join(given))
    if name is None:
        raise UnknownBackend(f"{HEADER} must be one of {', '.join(BACKEND_NAMES)}")
    return name

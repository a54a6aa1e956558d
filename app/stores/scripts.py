"""The Lua scripts that run in Redis: each is one atomic step."""

from __future__ import annotations

from hashlib import sha1
from importlib import resources

ADMISSION = ("clock", "rates", "scopes", "followers", "reservations", "usage_key", "settlements")
"""The files that the scripts of admission share, each after those it needs."""


def read(name: str) -> str:
    """Return the text of a file of `lua/`."""
    return resources.files("app.stores").joinpath("lua", f"{name}.lua").read_text("utf-8")


class Script:
    """The concatenation of the named files, and the SHA-1 under which Redis keeps it."""

    def __init__(self, *names: str) -> None:
        self.name = names[-1]
        self.source = "\n".join(map(read, names))
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

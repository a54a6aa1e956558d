"""The Lua scripts that work in Redis: a step that must happen whole is one of them."""

from __future__ import annotations

from hashlib import sha1
from importlib import resources

BOOKS = ("clock", "rates", "scopes", "followers", "reservations", "present")
"""What the scripts of admission share, each resting on those before it."""


def read(name: str) -> str:
    """The text of a file of `lua/`."""
    return resources.files("app.stores").joinpath("lua", f"{name}.lua").read_text("utf-8")


class Script:
    """A script as Redis keeps it, under the hash of its text: the files named, one after the other."""

    def __init__(self, *names: str) -> None:
        self.name = names[-1]
        self.source = "\n".join(map(read, names))
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

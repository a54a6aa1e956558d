"""A key that was issued: the text its holder keeps, and the record that is kept of it here.

The text is `cvk_<id>_<secret>`. The id names the key in lists and is no secret. Of the secret only the SHA-256 is
kept: it is 256 random bits, which nobody guesses however quick the hash, so a slow one would only slow every request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from secrets import token_hex, token_urlsafe

from pydantic import BaseModel, ConfigDict, Field

from app.auth.principal import Principal
from app.contract.completion import BackendName
from app.pricing.limits import Limits

ID = re.compile(r"[0-9a-f]{12}")
_TEXT = re.compile(r"cvk_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyText:
    """What a holder shows to be let in."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> KeyText:
        return cls(token_hex(6), token_urlsafe(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> KeyText | None:
        """The parts of a key; None for what has not the form of one."""
        found = _TEXT.fullmatch(text)
        return found and cls(found["id"], found["secret"])

    def reveal(self) -> str:
        """The whole key: for its holder, once."""
        return f"cvk_{self.id}_{self.secret}"

    def digest(self) -> str:
        """The secret's SHA-256 in hexadecimal."""
        return sha256(self.secret.encode()).hexdigest()


class RequestOptions(BaseModel):
    """What a key is issued for. A limit that is None is the settings' default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    backends: frozenset[BackendName] | None = None
    """None: all."""
    admin: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    nano_usd_per_day: int | None = None


class KeyRecord(BaseModel):
    """What is kept of a key."""

    # A field that is not known may be a restriction: such a record is refused, not read without it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str
    digest: str = Field(repr=False)
    terms: RequestOptions
    created: datetime
    created_by: str
    """The id of the holder who issued it."""
    revoked: datetime | None = None

    def principal(self, defaults: Limits) -> Principal:
        """Whom the key stands for, limits that it leaves open filled in."""
        terms = self.terms
        own = (terms.requests_per_minute, terms.tokens_per_minute, terms.nano_usd_per_day)
        standard = (defaults.requests_per_minute, defaults.tokens_per_minute, defaults.nano_usd_per_day)
        limits = (ours if ours is not None else default for ours, default in zip(own, standard, strict=True))
        return Principal(self.id, terms.name, terms.backends, terms.admin, Limits(*limits))

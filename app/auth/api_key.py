"""An issued API key: the text that its client keeps, and the record that the store keeps.

The text is `cvk_<id>_<secret>`. The id names the key in lists and is not secret. Of the secret only the SHA-256 is
stored: 256 random bits cannot be guessed however fast the hash, so a slow hash would only slow down requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
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
    """The text of a key."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> KeyText:
        return cls(token_hex(6), token_urlsafe(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> KeyText | None:
        """Return the parts of a key; None if the text is not one."""
        found = _TEXT.fullmatch(text)
        return found and cls(found["id"], found["secret"])

    def reveal(self) -> str:
        """Return the whole key, to be shown once."""
        return f"cvk_{self.id}_{self.secret}"

    def digest(self) -> str:
        """Return the secret's SHA-256 in hexadecimal."""
        return sha256(self.secret.encode()).hexdigest()


class KeyGrant(BaseModel):
    """What a key allows. A limit of None is the settings' default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    backends: frozenset[BackendName] | None = None
    """None for all."""
    admin: bool = False
    chat: bool = True
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    nano_usd_per_day: int | None = None


class KeyRecord(BaseModel):
    """The stored record of a key."""

    # An unknown field may be a restriction: a record that has one is refused.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_by_name=True)

    id: str
    digest: str = Field(repr=False)
    grant: KeyGrant = Field(alias="terms")
    created: datetime
    created_by: str
    """The id of the principal that issued it."""
    revoked: datetime | None = None

    def text(self) -> str:
        """Return the stored form, without defaults: a replica that does not know a permission accepts the keys that do
        not restrict it, and refuses those that do."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    def principal(self, defaults: Limits) -> Principal:
        """Return the key's principal, with default limits where the grant sets none."""
        grant = self.grant
        own = {name: getattr(grant, name) for name in Limits.__dataclass_fields__}
        limits = replace(defaults, **{name: limit for name, limit in own.items() if limit is not None})
        return Principal(self.id, grant.name, grant.backends, grant.admin, limits, grant.chat)

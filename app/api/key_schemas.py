"""The schemas of /v1/keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

from app.auth.api_key import KeyGrant, KeyRecord, KeyText
from app.contract.completion import BackendName
from app.pricing.limits import MAX_PER_MINUTE
from app.pricing.prices import NANO, in_usd
from app.recommendation import AmountUsd

MAX_NAME_LENGTH = 64
USD = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?")
"""USD below a million, to a nano-dollar."""

_DEFAULT = "null or omitted: the default of the gateway's settings"
Limit = Annotated[int | None, Field(ge=1, le=MAX_PER_MINUTE, strict=True, description=_DEFAULT)]


class NewKey(BaseModel):
    """A key to issue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[
        str,
        Field(
            description="the owner, for the log and the list",
            json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_LENGTH},
        ),
    ]
    backends: Annotated[
        list[BackendName] | None, Field(min_length=1, description="the permitted backends; null or omitted: all")
    ] = None
    admin: Annotated[StrictBool, Field(description="may issue and revoke keys of any scope")] = False
    chat: Annotated[StrictBool, Field(description="may send chat completions, with its own prompts")] = True
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    usd_per_day: Annotated[
        str | None,
        Field(
            description=f"a decimal number as a string; {_DEFAULT}",
            examples=["25.00"],
            json_schema_extra={"pattern": f"^{USD.pattern}$"},
        ),
    ] = None

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not (name.isprintable() and 1 <= len(name) <= MAX_NAME_LENGTH and name == name.strip()):
            raise ValueError(f"must be 1 to {MAX_NAME_LENGTH} printable characters without leading or trailing spaces")
        return name

    @field_validator("usd_per_day")
    @classmethod
    def _decimal(cls, usd: str | None) -> str | None:
        if usd is not None and not USD.fullmatch(usd):
            raise ValueError("must be a decimal number from 0 to 999999.999999999 as a string, such as '25.00'")
        return usd

    def grant(self) -> KeyGrant:
        return KeyGrant(
            name=self.name,
            backends=None if self.backends is None else frozenset(self.backends),
            admin=self.admin,
            chat=self.chat,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            nano_usd_per_day=None if self.usd_per_day is None else int(Decimal(self.usd_per_day) * NANO),
        )


@dataclass(frozen=True)
class Key:
    """An issued key, without its secret."""

    id: str
    name: str
    backends: list[BackendName] | None
    admin: bool
    requests_per_minute: int | None
    tokens_per_minute: int | None
    usd_per_day: AmountUsd | None
    created: datetime
    created_by: Annotated[str, Field(description="the id of the key or principal that issued it")]
    revoked: Annotated[datetime | None, Field(description="the time of its revocation; null while it is valid")]
    chat: Annotated[bool, Field(description="whether it may send chat completions")]

    @classmethod
    def of(cls, record: KeyRecord) -> Self:
        grant = record.grant
        nano_usd = grant.nano_usd_per_day
        return cls(
            id=record.id,
            name=grant.name,
            backends=None if grant.backends is None else sorted(grant.backends),
            admin=grant.admin,
            requests_per_minute=grant.requests_per_minute,
            tokens_per_minute=grant.tokens_per_minute,
            usd_per_day=None if nano_usd is None else in_usd(nano_usd),
            created=record.created,
            created_by=record.created_by,
            revoked=record.revoked,
            chat=grant.chat,
        )


@dataclass(frozen=True)
class IssuedKey:
    """A newly issued key."""

    key: Annotated[str, Field(description="the secret; shown only in this response")] = field(repr=False)
    record: Key
    lasting: Annotated[
        bool, Field(description="false: the gateway's embedded store holds the key and loses it when the gateway stops")
    ]

    @classmethod
    def of(cls, text: KeyText, record: KeyRecord, lasting: bool) -> Self:
        return cls(text.reveal(), Key.of(record), lasting)


@dataclass(frozen=True)
class Keys:
    """A page of keys, ordered by id."""

    keys: list[Key]
    next: Annotated[str | None, Field(description="the `after` of the next page; null on the last page")]

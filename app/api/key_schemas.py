"""The forms of what is asked and told about keys."""

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
from app.pricing.prices import NANO, plain
from app.recommendation import AmountUsd

LONGEST_NAME = 64
USD = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?")
"""To a nano-dollar, and below a million, as limits are counted."""

_OWN = "null or left out: as the gateway's settings say"
Limit = Annotated[int | None, Field(ge=1, le=MAX_PER_MINUTE, strict=True, description=_OWN)]


class NewKey(BaseModel):
    """What a key is to be issued for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[
        str,
        Field(
            description="whose key it is, for the log and the list",
            json_schema_extra={"minLength": 1, "maxLength": LONGEST_NAME},
        ),
    ]
    backends: Annotated[
        list[BackendName] | None, Field(min_length=1, description="those it may ask; null or left out: all")
    ] = None
    admin: Annotated[StrictBool, Field(description="may issue and revoke keys, of any scope")] = False
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    usd_per_day: Annotated[
        str | None,
        Field(
            description=f"a decimal number as a string; {_OWN}",
            examples=["25.00"],
            json_schema_extra={"pattern": f"^{USD.pattern}$"},
        ),
    ] = None

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not (name.isprintable() and 1 <= len(name) <= LONGEST_NAME and name == name.strip()):
            raise ValueError(f"must be one to {LONGEST_NAME} printable characters, no space at either end")
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
    created_by: Annotated[str, Field(description="the id of whoever issued it")]
    revoked: Annotated[datetime | None, Field(description="when it was; null while it opens")]

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
            usd_per_day=None if nano_usd is None else plain(Decimal(nano_usd).scaleb(-9)),
            created=record.created,
            created_by=record.created_by,
            revoked=record.revoked,
        )


@dataclass(frozen=True)
class ApiKey:
    """A key just issued."""

    key: Annotated[str, Field(description="shown this once")] = field(repr=False)
    record: Key
    lasting: Annotated[
        bool, Field(description="false: it is kept in the gateway's embedded store, and goes when the gateway stops")
    ]

    @classmethod
    def of(cls, text: KeyText, record: KeyRecord, lasting: bool) -> Self:
        return cls(text.reveal(), Key.of(record), lasting)


@dataclass(frozen=True)
class Keys:
    """A page of keys, in the order of their ids."""

    keys: list[Key]
    next: Annotated[str | None, Field(description="give it as `after` for the next page; null on the last")]

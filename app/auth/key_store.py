"""The records of issued keys, by id, in one Redis hash; records are never deleted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.auth.api_key import KeyGrant, KeyRecord, KeyText
from app.errors import StoreUnavailable

RECORDS = "conviction:keys"
PAGE_SIZE = 1000

log = logging.getLogger(__name__)


class KeyStore:
    """Reads and writes records. Every method raises `StoreUnavailable`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, grant: KeyGrant, created_by: str) -> tuple[KeyText, KeyRecord]:
        """Issue a key and return its text, which is not stored, and its record."""
        while True:
            key = KeyText.new()
            record = KeyRecord(
                id=key.id, digest=key.digest(), grant=grant, created=datetime.now(UTC), created_by=created_by
            )
            async with _answering():
                if await self._redis.hsetnx(RECORDS, key.id, record.text()):
                    return key, record

    async def get(self, key_id: str) -> KeyRecord | None:
        """Return the record of an id; None if it was never issued."""
        async with _answering():
            text = await self._redis.hget(RECORDS, key_id)
        return _read(key_id, text)

    async def page(self, after: str = "") -> tuple[list[KeyRecord], str | None]:
        """Return up to `PAGE_SIZE` records after an id, in order of id, and the last id if there are more."""
        async with _answering():
            all_ids = cast(list[str], await self._redis.hkeys(RECORDS))
            ids = sorted(key_id for key_id in all_ids if key_id > after)
            texts = await self._redis.hmget(RECORDS, ids[:PAGE_SIZE]) if ids else []
        records = (_read(key_id, text) for key_id, text in zip(ids, texts, strict=False))
        return [record for record in records if record is not None], ids[PAGE_SIZE - 1] if len(
            ids
        ) > PAGE_SIZE else None

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key, once; return whether it exists."""
        record = await self.get(key_id)
        if record is not None and record.revoked is None:
            revoked = record.model_copy(update={"revoked": datetime.now(UTC)})
            async with _answering():
                await self._redis.hset(RECORDS, key_id, revoked.text())
        return record is not None


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable("the key store does not answer") from error


def _read(key_id: str, text: str | bytes | None) -> KeyRecord | None:
    """Parse a record, if there is one. An invalid one is logged without its text, which contains a digest."""
    try:
        return None if text is None else KeyRecord.model_validate_json(text)
    except ValidationError:
        log.error("the record of key %s in %s is invalid", key_id, RECORDS)
        return None

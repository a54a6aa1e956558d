"""The cost ledger: tokens and integer nano-dollars a backend and UTC day."""

from __future__ import annotations

from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.contract.completion import BackendName, Usage
from app.errors import StoreUnavailable

KEPT_S = 400 * 24 * 3600
"""A year of days, and some."""


class Ledger:
    """Adds up what requests used; a day's sums lie in one Redis hash."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, backend: BackendName, usage: Usage, nano_usd: int, at: datetime) -> None:
        """Book one request, in one round trip; `StoreUnavailable` if the store does not take it."""
        key = ledger_key(backend, at)
        sums = {
            "requests": 1,
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cached_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
            "nano_usd": nano_usd,
        }
        pipeline = self._redis.pipeline(transaction=False)
        for field, amount in sums.items():
            pipeline.hincrby(key, field, amount)
        pipeline.expire(key, KEPT_S)
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable("the cost ledger cannot be written") from error

    async def check(self) -> None:
        """Return if the store answers, else raise `StoreUnavailable`."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable("Redis does not answer") from error


def ledger_key(backend: BackendName, at: datetime) -> str:
    """Where a day's sums lie; the day is UTC's."""
    return f"conviction:ledger:{backend}:{at.astimezone(UTC).date()}"

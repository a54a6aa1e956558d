"""A client of the Redis at REDIS_URL, or of an embedded server that runs as long as the gateway.

The Redis at REDIS_URL needs `appendonly yes` and `maxmemory-policy noeviction`, or it loses what it confirmed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.errors import StoreUnavailable
from app.stores.embedded import embedded_server

CONNECTIONS = 64
TIMEOUT_S = 0.5
"""For connecting and for each reply."""


@asynccontextmanager
async def open_redis(url: SecretStr | None, folder: Path | None = None) -> AsyncIterator[Redis]:
    """Yield a client, not yet connected. Without a URL it is of an embedded server, which persists only in a `folder`.

    Raises `InvalidSettings` if the folder cannot be used.
    """
    if url is not None:
        async with _client(url.get_secret_value()) as redis:
            yield redis
        return
    async with embedded_server(folder) as address, _client(address) as redis:
        yield redis


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[Redis]:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
    )
    redis = Redis(connection_pool=pool)
    try:
        yield redis
    finally:
        await redis.aclose()
        await pool.disconnect()


async def check(redis: Redis) -> None:
    """Return if Redis answers. Raises `StoreUnavailable`."""
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        raise StoreUnavailable("Redis does not answer") from error

"""Redis: the one at REDIS_URL, or an embedded server that lives as long as the gateway.

A Redis at a URL has to keep what it answers itself: `appendonly yes`, and `maxmemory-policy noeviction`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.stores.embedded import embedded_server

CONNECTIONS = 64
TIMEOUT_S = 0.5
"""For connecting and for each reply: an answer never waits longer for a store that hangs."""


@asynccontextmanager
async def open_redis(url: SecretStr | None, folder: Path | None = None) -> AsyncIterator[Redis]:
    """A client of the Redis at `url`, or of an embedded server that keeps all in `folder`, or nothing without one.

    Nothing is asked of it yet. Raises `InvalidSettings` where the folder cannot be used.
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

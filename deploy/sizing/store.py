"""Memory that requests take in Valkey, measured with a real gateway and server: `python -m deploy.sizing.store`.

A stand-in answers, with texts as long as the rule-based analyst's. Requests of each kind are sent, and the server is
asked how much more memory it uses after them, and by which keys.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, cast

import httpx
import uvicorn
from pydantic import SecretStr
from redis.asyncio import Redis

from app.contract.fingerprint import EXAMPLE
from app.main import create_app
from app.settings.gateway import Settings
from app.stand_in import create_stand_in
from app.stores.connection import open_redis
from app.stores.embedded import embedded_server
from deploy.sizing.__main__ import table

KEY = "sizing-0123456789abcdef"
AT_ONCE = 8


@dataclass(frozen=True)
class Kind:
    """A kind of request, by the keys it writes."""

    name: str
    path: str
    detail: str
    headers: Mapping[str, str]

    def body(self, number: int) -> dict[str, Any]:
        """Requests with different tickers, so that no answer comes from the cache."""
        return {"ticker": f"T{number}", "metrics": EXAMPLE.document(), "detail": self.detail}


KINDS = (
    Kind("brief", "/v1/recommendations", "brief", {}),
    Kind("full", "/v1/recommendations", "full", {}),
    Kind("brief, with an Idempotency-Key", "/v1/recommendations", "brief", {"Idempotency-Key": "brief {number}"}),
    Kind("full, with an Idempotency-Key", "/v1/recommendations", "full", {"Idempotency-Key": "full {number}"}),
    Kind("comparison, brief", "/v1/comparisons", "brief", {}),
)


@dataclass(frozen=True)
class Left:
    """Bytes a request: growth of memory and of the append-only file, and by key with the number of keys."""

    name: str
    total: float
    logged: float
    by_key: Mapping[str, tuple[float, int]]


async def measure(requests: int) -> AsyncIterator[Left]:
    """Measure each kind with `number` requests."""
    with TemporaryDirectory(prefix="conviction-sizing-") as folder:
        log = Path(folder) / "appendonlydir"
        async with embedded_server(Path(folder)) as url, open_redis(SecretStr(url)) as redis, gateway(url) as client:
            for kind in KINDS:
                await send(client, kind, range(10))  # load scripts and open connections
                await empty(redis)
                memory, disk = await used(redis), size(log)
                await send(client, kind, range(requests))
                memory, disk = await used(redis) - memory, size(log) - disk
                yield Left(kind.name, memory / requests, disk / requests, await by_key(redis))


async def send(client: httpx.AsyncClient, kind: Kind, numbers: range) -> None:
    """Send the requests, a few concurrently. Raises for an unexpected answer."""
    concurrency = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        headers = {name: value.format(number=number) for name, value in kind.headers.items()}
        async with concurrency:
            (await client.post(kind.path, json=kind.body(number), headers=headers)).raise_for_status()

    await asyncio.gather(*map(one, numbers))


async def empty(redis: Redis) -> None:
    """Flush synchronously: a lazy flush would free memory during the next measurement."""
    await redis.eval("return redis.call('FLUSHALL', 'SYNC')", 0)


def size(log: Path) -> int:
    return sum(file.stat().st_size for file in log.glob("*.incr.aof"))


async def used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def by_key(redis: Redis) -> dict[str, tuple[float, int]]:
    """Return the mean bytes and the number of keys, by key prefix."""
    bytes_of, number_of = Counter[str](), Counter[str]()
    keys = cast(list[str], await redis.keys("*"))
    for key in keys:
        name = ":".join(key.split(":")[:2])
        bytes_of[name] += await redis.memory_usage(key, samples=0) or 0
        number_of[name] += 1
    return {name: (size / number_of[name], number_of[name]) for name, size in bytes_of.items()}


@asynccontextmanager
async def gateway(store: str) -> AsyncIterator[httpx.AsyncClient]:
    """Start a gateway with keys, budgets and a stand-in for both backends; yield a client."""
    with stand_in() as url, NamedTemporaryFile("w", prefix="conviction-sizing-") as keys:
        keys.write(f"sizing:{KEY}\n")
        keys.flush()
        given = {
            "redis_url": store,
            "api_keys_file": keys.name,
            "vllm_urls": url,
            "openai_base_url": url,
            "openai_api_key": "stand-in-key",
            "market": "sample",
            **{f"{backend}_usd_per_day": 1000 for backend in ("key", "mistral", "gpt4")},
        }
        app = create_app(Settings.model_validate(given))
        async with app.router.lifespan_context(app):
            transport, bearer = httpx.ASGITransport(app), {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=bearer) as client:
                yield client


@contextmanager
def stand_in() -> Iterator[str]:
    """Run the app on a free loopback port, in a thread; yield its address."""
    server = uvicorn.Server(uvicorn.Config(create_stand_in(), port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.sizing.store", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each kind (default: 500)")
    rows = [row(left) async for left in measure(parser.parse_args().requests)]
    print("\n".join(table(("request", "bytes", "bytes of its log", "keys: bytes x number"), iter(rows))))


def row(left: Left) -> tuple[str, ...]:
    parts = ((name.removeprefix("conviction:"), *each) for name, each in sorted(left.by_key.items()))
    return (
        left.name,
        f"{left.total:,.0f}",
        f"{left.logged:,.0f}",
        ", ".join(f"{name} {size:,.0f} x {number}" for name, size, number in parts),
    )


if __name__ == "__main__":
    asyncio.run(main())

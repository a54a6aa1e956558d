"""Gateways as processes, and the ledger and budgets in their common store."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from app.accounting.admission import Admissions
from app.backends.upstream import TEMPLATE_TOKENS
from app.completions.retry import MAX_ATTEMPTS
from app.contract.completion import BACKEND_NAMES, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import ANSWER_TOKENS, response_format
from app.pricing.prices import NANO, CapacityPrice, Price
from app.stores.pipelined import Pipelined
from tests.conftest import STAND_IN_KEY
from tests.doubles import EXAMPLE_BODY
from tests.test_main import clean_environment, free_port

ROOT = Path(__file__).parents[2]
SOON_S = 120.0
PRICE = CapacityPrice(Decimal("0.10"), Decimal(100_000))
"""1,000 nano-dollars per token."""


class Replica:
    """A gateway process that can be killed and started again on the same port."""

    def __init__(self, folder: Path, upstream: str, store: str, within: Sequence[str] = (), **settings: str) -> None:
        self.port = free_port()
        self._within = within
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"gateway-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = clean_environment(
            **{
                "CONVICTION_VLLM_URLS": f"{upstream}/v1",
                "OPENAI_BASE_URL": f"{upstream}/v1",
                "OPENAI_API_KEY": STAND_IN_KEY,
                "REDIS_URL": store,
                "CONVICTION_HOSTING_USD_PER_HOUR": str(PRICE.usd_per_hour),
                "CONVICTION_CAPACITY_TOKENS_PER_HOUR": str(PRICE.tokens_per_hour),
                "CONVICTION_DRAIN_S": "0.1",
                "CONVICTION_PORT": str(self.port),
                "PYTHONPATH": str(ROOT),
            }
            | settings
        )

    def start(self) -> Replica:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within, sys.executable, "-m", "app.cli", "serve"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        return self

    def wait(self) -> Replica:
        """Wait until it is ready, and therefore knows the served model."""
        ends = time.monotonic() + SOON_S
        while not self._ready():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.05)
        return self

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(SOON_S)

    def resident(self) -> int:
        """Return the resident memory in bytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, timeout=SOON_S) as client:
            yield client

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def question(mark: str, detail: Detail = "brief", **more: object) -> dict[str, Any]:
    """Return the body of a recommendation."""
    return EXAMPLE_BODY | {"ticker": mark, "detail": detail} | more


def chat(mark: str, detail: Detail = "brief", **more: object) -> dict[str, Any]:
    """Return the same question to mistral as a chat completion."""
    return {
        "model": "mistral",
        "messages": messages(EXAMPLE, mark, detail),
        "response_format": response_format(detail, bounded=True),
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS[detail],
    } | more


def most(mark: str, detail: Detail = "brief", price: Price = PRICE) -> int:
    """Return the nano-dollars that are reserved for such a recommendation: a token has at least one byte."""
    prompt = sum(len(message["content"].encode()) for message in messages(EXAMPLE, mark, detail))
    return price.cost(Usage(MAX_ATTEMPTS * (prompt + TEMPLATE_TOKENS), MAX_ATTEMPTS * ANSWER_TOKENS[detail])).nano_usd


@dataclass(frozen=True)
class Books:
    """The ledger and budgets of a store, in nano-dollars and tokens, summed over days."""

    redis: Redis

    async def ledger(self, *backends: str) -> Counter[str]:
        """Return the sums of some backends, by default of all."""
        return await self._sums(*(f"ledger:{name}" for name in backends or BACKEND_NAMES))

    async def budget(self, scope: str) -> Counter[str]:
        """Return `used` and `reserved`."""
        return await self._sums(f"budget:{scope}")

    async def budget_days(self, scope: str) -> list[Counter[str]]:
        """Return `used` and `reserved` per day."""
        return await self._days(f"budget:{scope}")

    async def leases(self) -> int:
        leases: int = await self.redis.zcard("conviction:leases")
        return leases

    async def closed(self) -> None:
        """Return once nothing is reserved, after the leases of killed gateways have expired."""
        store = Pipelined(self.redis, SOON_S)
        try:
            async with asyncio.timeout(SOON_S):
                while await self.leases():
                    await Admissions(store).sweep()
                    await asyncio.sleep(0.1)
        finally:
            await store.close()

    async def _sums(self, *kinds: str) -> Counter[str]:
        sums: Counter[str] = Counter()
        for kind in kinds:
            for day in await self._days(kind):
                sums.update(day)
        return sums

    async def _days(self, kind: str) -> list[Counter[str]]:
        keys = await self.redis.keys(f"conviction:{kind}:*")
        days = [await self.redis.hgetall(key) for key in keys]
        return [Counter({str(name): int(value) for name, value in day.items()}) for day in days]


@asynccontextmanager
async def books_of(store: str) -> AsyncIterator[Books]:
    """Open the books with a time limit that suits a busy store."""
    redis = Redis.from_url(store, decode_responses=True, socket_timeout=SOON_S, socket_connect_timeout=SOON_S)
    async with redis:
        yield Books(redis)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = SOON_S) -> None:
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.005)


def stated(answer: httpx.Response) -> int:
    """Return an answer's cost in nano-dollars."""
    assert answer.status_code == 200, answer.text
    return int(Decimal(answer.json()["cost"]["usd"]) * NANO)

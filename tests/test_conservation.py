"""Money under faults: after failures, disconnects and kills the ledger holds what upstream served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, get_args

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.contract.completion import BACKEND_NAMES, BackendName
from app.main import create_app
from app.pricing.prices import NANO
from app.settings.gateway import Settings
from app.stand_in import create_stand_in
from app.stores.connection import open_redis
from tests.conftest import STAND_IN_KEY
from tests.doubles import EXAMPLE_BODY, ledger_key, listening
from tests.valkey import Valkey

SOON_S = 60.0
Fault = Literal["500", "429", "503", "cut", "garbled", "malformed", "length", "refusal", "filtered", "empty"]
TIMES = {"malformed": 2, "refusal": 2, "length": 2, "500": 3, "503": 3}
"""Number of failures, enough for every retry to fail."""
ON_ITS_WAY = 25
"""Tokens that may be sent but not read when the client disconnects."""


@dataclass(frozen=True)
class Step:
    """A request: its fault, and whether its client disconnects."""

    backend: BackendName
    fault: Fault | None
    detail: Literal["brief", "full"]
    leaves: bool


steps = st.builds(
    Step,
    st.sampled_from(BACKEND_NAMES),
    st.none() | st.sampled_from(get_args(Fault)),
    st.sampled_from(["brief", "full"]),
    st.booleans(),
)


class World:
    """A gateway, its stand-in, and its ledger."""

    def __init__(self, gateway: httpx.AsyncClient, upstream: httpx.AsyncClient, store: str) -> None:
        self._gateway, self._upstream, self._store = gateway, upstream, store
        self._asked = 0
        self.stated = 0

    async def take(self, step: Step) -> None:
        self._asked += 1
        if step.fault is not None:
            order = {"mode": step.fault, "times": TIMES.get(step.fault, 1), "retry_after": 0}
            (await self._upstream.post("/stand-in/fail", json=order)).raise_for_status()
        body = EXAMPLE_BODY | {"ticker": f"T{self._asked}", "detail": step.detail}
        headers = {"X-Backend": step.backend}
        if step.leaves and step.backend == "mistral" and step.detail == "full":
            await self._leave(body | {"stream": True}, headers)
        else:
            response = await self._gateway.post("/v1/recommendations", json=body, headers=headers)
            if response.status_code == 200:
                self.stated += int(Decimal(response.json()["cost"]["usd"]) * NANO)
        await self._upstream.post("/stand-in/fail", json={"mode": "500", "times": 0})

    async def _leave(self, body: object, headers: dict[str, str]) -> None:
        """Wait for the first output."""
        async with self._gateway.stream("POST", "/v1/recommendations", json=body, headers=headers) as response:
            async for _ in response.aiter_lines():
                return

    async def served(self) -> dict[str, int]:
        """Return upstream's counts once no call is open."""
        async with asyncio.timeout(SOON_S):
            while (tally := (await self._upstream.get("/stand-in/tally")).json())["open"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        counted: dict[str, int] = tally
        return counted

    async def booked(self) -> dict[str, int]:
        """Return the sums of both backends once nothing is reserved."""
        async with open_redis(SecretStr(self._store)) as redis:
            async with asyncio.timeout(SOON_S):
                while await redis.zcard("conviction:leases"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            sums: dict[str, int] = {}
            for name in BACKEND_NAMES:
                for field, amount in (await redis.hgetall(ledger_key(name, datetime.now(UTC)))).items():
                    sums[field] = sums.get(field, 0) + int(amount)
            return sums


@asynccontextmanager
async def world(store: str) -> AsyncIterator[World]:
    async with open_redis(SecretStr(store)) as redis:
        await redis.flushdb()
    stand_in = create_stand_in(key=STAND_IN_KEY, seconds_per_token=0.001)
    async with listening(stand_in) as upstream:
        given = {
            "vllm_urls": f"{upstream}/v1",
            "openai_base_url": f"{upstream}/v1",
            "openai_api_key": STAND_IN_KEY,
            "hosting_usd_per_hour": "0.10",
            "capacity_tokens_per_hour": 100_000,
            "redis_url": store,
            "market": "sample",
        }
        app = create_app(Settings.model_validate(given))
        async with (
            app.router.lifespan_context(app),
            listening(app) as origin,
            httpx.AsyncClient(base_url=origin, timeout=60) as gateway,
            httpx.AsyncClient(base_url=upstream, timeout=60) as client,
        ):
            yield World(gateway, client, store)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planned=st.lists(steps, min_size=1, max_size=8))
def test_the_ledger_holds_what_upstream_served(store_url: str, planned: list[Step]) -> None:
    """The amounts are exact if upstream reports usage; for a cancelled call they cover the received output."""

    async def play() -> None:
        async with world(f"{store_url}?db=3") as running:
            for step in planned:
                await running.take(step)
            served, booked = await running.served(), await running.booked()
            assert booked.get("nano_usd", 0) >= running.stated
            assert booked.get("unconfirmed_requests", 0) == 0
            unsure = booked.get("estimated_requests", 0) + sum(
                step.leaves or step.fault == "garbled" for step in planned
            )
            tokens_in = booked.get("input_tokens", 0) + booked.get("cached_input_tokens", 0)
            tokens_out = booked.get("output_tokens", 0)
            if not booked.get("estimated_requests", 0):
                assert tokens_in == served["prompt_tokens"]
            if not unsure:
                assert tokens_out == served["completion_tokens"]
            assert abs(served["completion_tokens"] - tokens_out) <= unsure * ON_ITS_WAY

    asyncio.run(play())


# A gateway that is killed


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey

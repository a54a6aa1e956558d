"""Money under faults: after failures, disconnects and kills the ledger holds what upstream served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.backends.dialects import VLLM, openai_dialect
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.main import create_app
from app.pricing.prices import NANO
from app.settings.gateway import Settings
from app.stand_in import create_stand_in
from app.stores.connection import open_redis
from tests.conftest import STAND_IN_KEY
from tests.doubles import EXAMPLE_BODY, ledger_key, listening

SOON_S = 60.0
Fault = Literal["500", "429", "503", "cut", "garbled", "malformed", "length", "refusal", "filtered", "empty"]
TIMES = {"malformed": 2, "refusal": 2, "length": 2, "500": 3, "503": 3}
"""Number of failures, enough for every retry to fail."""
ON_ITS_WAY = 25
"""Tokens that may be sent but not read when the client disconnects."""


@dataclass(frozen=True)
class Step:
    """A request: its fault, whether its client disconnects, and whether it is a chat completion."""

    backend: BackendName
    fault: Fault | None
    detail: Literal["brief", "full"]
    leaves: bool
    chat: bool


steps = st.builds(
    Step,
    st.sampled_from(BACKEND_NAMES),
    st.none() | st.sampled_from(get_args(Fault)),
    st.sampled_from(["brief", "full"]),
    st.booleans(),
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
        if step.chat:
            await self._chat(step)
        elif step.leaves and step.backend == "mistral" and step.detail == "full":
            await self._leave(body | {"stream": True}, headers)
        else:
            response = await self._gateway.post("/v1/recommendations", json=body, headers=headers)
            if response.status_code == 200:
                self.stated += int(Decimal(response.json()["cost"]["usd"]) * NANO)
        await self._upstream.post("/stand-in/fail", json={"mode": "500", "times": 0})

    async def _chat(self, step: Step) -> None:
        """Ask the same as a chat completion that is not streamed, and leave after a moment if the client does."""
        dialect = VLLM if step.backend == "mistral" else openai_dialect("gpt-4.1")
        prompt = messages(EXAMPLE, f"T{self._asked}", step.detail)
        body = dialect.request(step.backend, prompt, step.detail) | {"stream": False}
        del body["stream_options"]
        timeout_s = 0.05 if step.leaves else 60
        with suppress(httpx.ReadTimeout):
            response = await self._gateway.post("/v1/chat/completions", json=body, timeout=timeout_s)
            self.stated += int(Decimal(response.headers.get("x-cost-usd", "0")) * NANO)

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


# Chat completions of any kind


@dataclass(frozen=True)
class Chat:
    """A chat completion: its body, and the part of the possible usage that the model needs, in percent."""

    body: dict[str, Any]
    percent: int
    usage: Literal["reported", "missing", "impossible"]


picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
question = {"role": "user", "content": "How are you?"}
pictured = st.integers(0, 20).map(
    lambda count: {"role": "user", "content": [{"type": "text", "text": "x"}, *[picture] * count]}
)
long_prompt = st.sampled_from([100, 280_000]).map(lambda length: {"role": "user", "content": "x" * length})
tools = st.sampled_from([0, 200_000]).map(
    lambda length: [{"type": "function", "function": {"name": "f", "description": "x" * length}}]
)
chat_bodies = st.fixed_dictionaries(
    {
        "model": st.just("gpt-4"),
        "messages": st.lists(st.just(question) | pictured | long_prompt, min_size=1, max_size=2),
    },
    optional={
        "tools": tools,
        "max_tokens": st.integers(1, 5000),
        "max_completion_tokens": st.integers(1, 5000),
        "reasoning_effort": st.sampled_from(["none", "low", "medium", "high"]),
        "n": st.integers(1, 4),
        "stream": st.booleans(),
        "service_tier": st.sampled_from(["default", "priority"]),
    },
)
chats = st.builds(
    Chat, chat_bodies, st.integers(0, 100), st.sampled_from(["reported", "reported", "missing", "impossible"])
)


def possible(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return the most tokens of a model with one per character and ten thousand per picture."""
    contents = [message["content"] for message in body["messages"]]
    pictures = sum(part["type"] == "image_url" for content in contents if isinstance(content, list) for part in content)
    text = sum(len(content) for content in contents if isinstance(content, str))
    tools_text = sum(len(tool["function"]["description"]) for tool in body.get("tools", ()))
    limit = max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0))
    thought = {"none": 0, "low": 8_000, "high": 64_000}.get(body.get("reasoning_effort", "medium"), 32_000)
    thought = 0 if body["model"] == "gpt-4.1" else thought
    return text + tools_text + 10_000 * pictures + 20, body.get("n", 1) * (limit + thought)


class Model:
    """An OpenAI server whose usage is drawn, and the reservation that it saw at each call."""

    def __init__(self, store: str) -> None:
        self._store = store
        self.next: Chat
        self.reserved = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads(await Request(scope, receive).body())
        async with open_redis(SecretStr(self._store)) as redis:
            keys = await redis.keys("conviction:budget:backend:gpt-4:*")
            self.reserved = sum([int(await redis.hget(key, "reserved") or 0) for key in keys])
        prompt, completion = (count * self.next.percent // 100 for count in possible(body))
        usage = {"prompt_tokens": max(1, prompt), "completion_tokens": max(1, completion)}
        if self.next.usage == "impossible":
            usage["prompt_tokens"] = -1
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": "Well."}, "finish_reason": "stop"}]}
        ]
        if self.next.usage != "missing":
            events.append({"choices": [], "usage": usage})
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        await Response(text, media_type="text/event-stream")(scope, receive, send)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planned=st.lists(chats, min_size=1, max_size=6), model=st.sampled_from(["gpt-4.1", "gpt-6.1-sol"]))
def test_no_chat_completion_costs_more_than_its_reservation(store_url: str, planned: list[Chat], model: str) -> None:
    async def play() -> None:
        store = f"{store_url}?db=4"
        async with open_redis(SecretStr(store)) as redis:
            await redis.flushdb()
        upstream = Model(store)
        async with listening(upstream) as origin:  # type: ignore[arg-type]
            given = {"openai_base_url": f"{origin}/v1", "openai_api_key": STAND_IN_KEY, "gpt4_model": model}
            given |= {"redis_url": store, "market": "sample", "gpt4_usd_per_day": "1000"}
            app = create_app(Settings.model_validate(given))
            async with (
                app.router.lifespan_context(app),
                listening(app) as gateway_origin,
                httpx.AsyncClient(base_url=gateway_origin, timeout=60) as client,
            ):
                for upstream.next in planned:
                    upstream.reserved, before = 0, await booked(store)
                    response = await client.post("/v1/chat/completions", json=upstream.next.body)
                    expected = 422 if upstream.next.body.get("service_tier") == "priority" else 200
                    assert response.status_code == expected, response.text
                    cost = await booked(store) - before
                    assert (cost > 0) == (expected == 200)
                    assert cost <= upstream.reserved

    asyncio.run(play())


async def booked(store: str) -> int:
    """Return the sum of the ledger once nothing is reserved."""
    async with open_redis(SecretStr(store)) as redis:
        async with asyncio.timeout(SOON_S):
            while await redis.zcard("conviction:leases"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return int(await redis.hget(ledger_key("gpt-4", datetime.now(UTC)), "nano_usd") or 0)

"""Doubles behind the gateway's Protocols, and the gateway itself with them in place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Self

import httpx
import pandas as pd
from fastapi import FastAPI
from pydantic import SecretStr

from app import rules
from app.backends.base import NOTHING, Backend, BackendName, BreakerState, Completion, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, Message
from app.contract.recommendation import canonical
from app.costs import CapacityPrice, Price, list_price
from app.deadline import Deadline
from app.main import OpenResources, create_app
from app.market.provider import Chain, Provider
from app.market.sample import SampleProvider
from app.resources import Resources, assembled
from app.settings import Settings
from app.stores.connection import open_redis

PRICES: dict[BackendName, Price] = {
    "mistral": CapacityPrice(Decimal("0.10"), Decimal(100_000)),
    "gpt-4": list_price("gpt-4.1"),
}
USAGE = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100)
EXAMPLE_BODY = {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"}


def completion(text: str, **changes: object) -> Completion:
    """What a model wrote, in 0.5 s, the first token after 0.1 s."""
    given: dict[str, object] = {
        "text": text,
        "model": "double-1",
        "usage": USAGE,
        "probabilities": {"buy": 0.7, "sell": 0.1, "hold": 0.2},
        "time_to_first_token": 0.1,
        "duration": 0.5,
        "stand_in": False,
    }
    return Completion(**(given | changes))  # type: ignore[arg-type]


class ScriptedStream:
    """Tells one completion in pieces of a few characters, or raises; what was used is known from the first on."""

    def __init__(self, said: Completion | Exception) -> None:
        self.said = said
        text = "" if isinstance(said, Exception) else said.text
        self.pieces = iter([text[at : at + 5] for at in range(0, len(text), 5)])
        self.usage = NOTHING
        self.left = False
        """Its context has ended."""

    @property
    def completion(self) -> Completion:
        assert isinstance(self.said, Completion)
        return self.said

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if isinstance(self.said, Exception):
            self.usage = getattr(self.said, "usage", None) or NOTHING
            raise self.said
        self.usage = self.said.usage
        try:
            return next(self.pieces)
        except StopIteration:
            raise StopAsyncIteration from None


class ScriptedChat:
    """A whole chat completion that says one text."""

    status = 200

    def __init__(self, said: Completion) -> None:
        message = {"role": "assistant", "content": said.text}
        used = {"prompt_tokens": said.usage.prompt_tokens, "completion_tokens": said.usage.completion_tokens}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        document = {"object": "chat.completion", "model": said.model, "choices": [choice], "usage": used}
        self.headers = {"Content-Type": "application/json"}
        self.usage: Usage | None = said.usage
        self._pieces = iter([json.dumps(document).encode()])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


@dataclass
class CountingBackend:
    """Counts what it is asked; answers what `script` says next, else as the rule-based analyst would."""

    name: BackendName
    script: list[Completion | Exception] = field(default_factory=list)
    asked: list[tuple[Sequence[Message], Detail]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)
    chats: list[Mapping[str, Any]] = field(default_factory=list)
    unready: Exception | None = None
    model: str = "double-1"
    breaker: BreakerState = "closed"
    closed: bool = False

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        return {"model": self.model, "messages": list(messages), "detail": detail}

    def answer(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> ScriptedStream:
        self.asked.append((messages, detail))
        self.deadlines.append(deadline)
        self.streams.append(ScriptedStream(self._next(detail)))
        return self.streams[-1]

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        async with self.answer(messages, detail, deadline) as stream:
            async for _ in stream:
                pass
            return stream.completion

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ScriptedChat:
        self.chats.append(body)
        self.deadlines.append(deadline)
        said = self._next("brief")
        if isinstance(said, Exception):
            raise said
        return ScriptedChat(said)

    async def check(self) -> None:
        if self.unready is not None:
            raise self.unready

    async def close(self) -> None:
        self.closed = True

    def _next(self, detail: Detail) -> Completion | Exception:
        return self.script.pop(0) if self.script else completion(canonical(rules.answer(EXAMPLE, detail)))


class BrokenProvider:
    """Market data that fail with one error, and count how often they were asked for."""

    name = "broken"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        self.asked += 1
        raise self.error

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        raise self.error


@dataclass(frozen=True)
class Gateway:
    """A running gateway, a client of it, and the doubles behind it."""

    app: FastAPI
    client: httpx.AsyncClient
    backends: Mapping[BackendName, CountingBackend]
    resources: Resources

    @property
    def asked(self) -> int:
        """Calls that reached a backend."""
        return sum(len(backend.asked) for backend in self.backends.values())

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; nought where it has never been counted."""
        return self.resources.collectors.registry.get_sample_value(name, labels) or 0.0


def opened_with(
    store_url: str, backends: Mapping[BackendName, Backend], provider: Provider | None = None
) -> OpenResources:
    """Opens resources around the doubles, on a real store."""

    @asynccontextmanager
    async def opened(settings: Settings, prices: Mapping[BackendName, Price]) -> AsyncIterator[Resources]:
        async with (
            open_redis(SecretStr(store_url)) as redis,
            assembled(settings, redis, provider or SampleProvider(), backends, PRICES | dict(prices)) as resources,
        ):
            yield resources

    return opened


@asynccontextmanager
async def gateway(
    store_url: str, *, provider: Provider | None = None, host: str = "127.0.0.1", **settings: object
) -> AsyncIterator[Gateway]:
    """The gateway with a counting backend under each name."""
    backends: dict[BackendName, CountingBackend] = {
        "mistral": CountingBackend("mistral"),
        "gpt-4": CountingBackend("gpt-4"),
    }
    given = Settings.model_validate({"market": "sample", "cache_s": 0, **settings})
    app = create_app(given, opened_with(store_url, backends, provider))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            yield Gateway(app, client, backends, app.state.resources)


async def ask(gateway: Gateway, body: object = None, **headers: str) -> httpx.Response:
    """POST a body, the SNPS example by default."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await gateway.client.post("/v1/recommendations", json=EXAMPLE_BODY if body is None else body, headers=names)


def without(names: Iterable[str], mapping: Mapping[str, object]) -> dict[str, object]:
    """The mapping without some names."""
    return {name: value for name, value in mapping.items() if name not in set(names)}

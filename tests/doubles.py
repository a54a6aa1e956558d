"""Doubles behind the gateway's Protocols, and the gateway itself with them in place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import httpx
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from app.backends.base import Backend, BreakerState
from app.contract import rule_based_analyst as rules
from app.contract.completion import NO_USAGE, BackendName, Completion, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.manifest import current
from app.contract.probabilities import LabelProbabilities
from app.contract.prompt import Detail, Message
from app.contract.recommendation import canonical
from app.deadline import Deadline
from app.main import OpenResources, create_app
from app.market.provider import Chain, Provider
from app.market.sample import SampleProvider
from app.pricing.prices import CapacityPrice, Price, list_price
from app.resources import Resources, assembled
from app.settings.gateway import Settings
from app.stores.connection import open_redis

PRICES: dict[BackendName, Price] = {
    "mistral": CapacityPrice(Decimal("0.10"), Decimal(100_000)),
    "gpt-4": list_price("gpt-4.1"),
}
USAGE = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100)
PARTIAL_USAGE = Usage(prompt_tokens=400, completion_tokens=1, estimated=True)
"""The estimated usage of a call that is still running."""
EXAMPLE_BODY = {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"}


def completion(text: str, **changes: object) -> Completion:
    """A completion that took 0.5 s, with the first token after 0.1 s."""
    given: dict[str, object] = {
        "text": text,
        "model": "double-1",
        "usage": USAGE,
        "probabilities": {"buy": 0.7, "sell": 0.1, "hold": 0.2},
        "time_to_first_token": 0.1,
        "duration": 0.5,
        "stand_in": False,
    }
    given |= changes
    if isinstance(values := given["probabilities"], dict):
        given["probabilities"] = LabelProbabilities(values, None)
    return Completion(**given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Broken:
    """A call that fails after part of its text, with the given usage."""

    text: str
    error: Exception
    usage: Usage = NO_USAGE


ModelReply = Completion | Broken | Exception
PIECE = 5
"""Characters."""


class ScriptedStream:
    """Streams one completion in small pieces, or fails. After the first piece it waits for the event `go`."""

    def __init__(
        self, reply: ModelReply, go: asyncio.Event | None, first: int = PIECE, requested_model: str = ""
    ) -> None:
        self.reply, self.requested_model = reply, requested_model
        text = "" if isinstance(reply, Exception) else reply.text
        self.usage = NO_USAGE
        self.attempts = 0
        self.sent_at = 0.0
        self.began = asyncio.Event()
        """Set once the first piece is sent."""
        self.left = asyncio.Event()
        """Set once the context has ended."""
        self._go = go
        cuts = [0, *range(first, len(text), PIECE), len(text)]
        self._pieces = iter([text[start:end] for start, end in pairwise(cuts) if start < end])

    @property
    def completion(self) -> Completion:
        assert isinstance(self.reply, Completion)
        return self.reply

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if not self.attempts:
            self.attempts, self.sent_at = 1, perf_counter()
        if self._go is not None and self.began.is_set():
            await self._go.wait()
        if (piece := next(self._pieces, None)) is not None:
            self.usage = PARTIAL_USAGE
            self.began.set()
            return piece
        match self.reply:
            case Completion(usage=used):
                self.usage = used
                raise StopAsyncIteration
            case Broken(error=error, usage=used):
                self.usage = used
                raise error
            case error:
                self.usage = getattr(error, "usage", None) or NO_USAGE
                raise error


class ScriptedChat:
    """A chat completion, whole or streamed, with the content of a `ScriptedStream`. Errors are raised on entering."""

    status = 200

    def __init__(self, reply: ModelReply, go: asyncio.Event | None, streamed: bool) -> None:
        self.stream = ScriptedStream(reply, go)
        self.headers = {"Content-Type": "text/event-stream; charset=utf-8" if streamed else "application/json"}
        self.sent_at = 0.0
        self.ended = False
        self._streamed = streamed
        self._documents = self._events() if streamed else self._whole()

    @property
    def usage(self) -> Usage | None:
        return None if self.stream.usage == NO_USAGE else self.stream.usage

    async def __aenter__(self) -> Self:
        self.sent_at = perf_counter()
        if isinstance(self.stream.reply, Exception):
            await anext(self.stream)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.__aexit__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._documents)

    async def _whole(self) -> AsyncIterator[bytes]:
        text = "".join([piece async for piece in self.stream])
        message = {"role": "assistant", "content": text}
        usage = self.stream.usage
        used = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        yield json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": used}
        ).encode()

    async def _events(self) -> AsyncIterator[bytes]:
        async for piece in self.stream:
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            yield b"data: " + json.dumps(event).encode() + b"\n\n"
        self.ended = True
        yield b"data: [DONE]\n\n"


@dataclass
class CountingBackend:
    """Records its calls; answers with the next reply in `script`, else as the rule-based analyst.

    With an event as `go`, it sends the first piece of an answer, and the rest once the event is set.
    """

    name: BackendName
    script: list[ModelReply] = field(default_factory=list)
    go: asyncio.Event | None = None
    first_piece: int = PIECE
    asked: list[tuple[Sequence[Message], Detail]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)
    chats: list[Mapping[str, Any]] = field(default_factory=list)
    chat_streams: list[ScriptedChat] = field(default_factory=list)
    unready: Exception | None = None
    model: str = "double-1"
    says: str = ""
    """The model that `discover_model` finds."""
    breaker: BreakerState = "closed"
    stand_in: bool | None = None
    closed: bool = False

    async def discover_model(self) -> None:
        self.model = self.model or self.says

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        return {"model": self.model, "messages": list(messages), "detail": detail}

    def answer(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> ScriptedStream:
        self.asked.append((messages, detail))
        self.deadlines.append(deadline)
        self.streams.append(ScriptedStream(self._next(detail), self.go, self.first_piece, self.model))
        return self.streams[-1]

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        async with self.answer(messages, detail, deadline) as stream:
            async for _ in stream:
                pass
            return stream.completion

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ScriptedChat:
        self.chats.append(body)
        self.deadlines.append(deadline)
        self.chat_streams.append(ScriptedChat(self._next("brief"), self.go, body.get("stream") is True))
        return self.chat_streams[-1]

    async def check(self) -> None:
        if self.unready is not None:
            raise self.unready

    async def close(self) -> None:
        self.closed = True

    async def began(self, calls: int = 1) -> None:
        """Wait until the last of `calls` calls has sent its first piece."""
        async with asyncio.timeout(20):
            while len(self.streams) < calls:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await self.streams[calls - 1].began.wait()

    def _next(self, detail: Detail) -> ModelReply:
        return self.script.pop(0) if self.script else completion(canonical(rules.answer(EXAMPLE, detail)))


class BrokenProvider:
    """A market data provider that fails with one error, and counts its calls."""

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
    """A running gateway, a client, and its doubles."""

    app: FastAPI
    client: httpx.AsyncClient
    backends: Mapping[BackendName, CountingBackend]
    resources: Resources

    @property
    def asked(self) -> int:
        """Calls that reached a backend."""
        return sum(len(backend.asked) for backend in self.backends.values())

    @property
    def mistral(self) -> CountingBackend:
        return self.backends["mistral"]

    def sample(self, name: str, **labels: str) -> float:
        """Sum a metric's series with these labels; 0 without a sample."""
        families = self.resources.collectors.registry.restricted_registry([name]).collect()
        samples = (sample for family in families for sample in family.samples)
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def opened_with(
    store_url: str, backends: Mapping[BackendName, Backend], provider: Provider | None = None
) -> OpenResources:
    """Return a function that opens resources with the doubles and a real store."""

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
    store_url: str, *, provider: Provider | None = None, host: str = "127.0.0.1", wire: bool = False, **settings: object
) -> AsyncIterator[Gateway]:
    """The gateway with a counting backend for each name, of the candidate only with `candidate_urls`; `wire`: over a
    socket, so that clients can disconnect."""
    backends: dict[BackendName, CountingBackend] = {
        "mistral": CountingBackend("mistral"),
        "gpt-4": CountingBackend("gpt-4"),
    }
    if "candidate_urls" in settings:
        backends["candidate"] = CountingBackend("candidate", model="candidate-1")
    given = Settings.model_validate({"market": "sample", "cache_s": 0, "cascade_threshold": 0.7, **settings})
    app = create_app(given, opened_with(store_url, backends, provider))
    async with app.router.lifespan_context(app):
        if wire:
            async with listening(app) as origin, httpx.AsyncClient(base_url=origin, timeout=60) as client:
                yield Gateway(app, client, backends, app.state.resources)
        else:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                yield Gateway(app, client, backends, app.state.resources)


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve the app on a free loopback port, in this event loop, and log its errors; yield its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, log_level="error", ws="none", http="httptools", lifespan="off"
    )
    config.timeout_graceful_shutdown = 20
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    running = asyncio.create_task(server.main_loop())
    try:
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await running
        await server.shutdown()


async def ask(gateway: Gateway, body: object = None, **headers: str) -> httpx.Response:
    """POST a body, the SNPS example by default."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await gateway.client.post("/v1/recommendations", json=EXAMPLE_BODY if body is None else body, headers=names)


def without(names: Iterable[str], mapping: Mapping[str, object]) -> dict[str, object]:
    """Return the mapping without some names."""
    return {name: value for name, value in mapping.items() if name not in set(names)}


def ledger_key(backend: BackendName, at: datetime) -> str:
    """Return the key of a backend's sums for a UTC day."""
    return f"conviction:ledger:{backend}:{at.astimezone(UTC).date()}"


async def ledger(gateway: Gateway, backend: BackendName) -> dict[str, int]:
    """Return a backend's sums of today."""
    sums = await gateway.resources.redis.hgetall(ledger_key(backend, datetime.now(UTC)))
    return {str(name): int(value) for name, value in sums.items()}


def calibrated_store(folder: Path, calibration: Mapping[str, object] | None) -> Path:
    """Copy the current version's manifest into a model store in `folder`, with these calibrations by detail."""
    published = current(Path("model_store"))
    name = str(published.relative_to(Path("model_store").resolve()))
    document = json.loads((published / "manifest.json").read_text()) | {"calibration": calibration}
    (folder / name).mkdir(parents=True)
    (folder / "current").write_text(name)
    (folder / name / "manifest.json").write_text(json.dumps(document))
    return folder

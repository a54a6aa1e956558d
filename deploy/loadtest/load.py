"""Clients that send requests one after another through the balancer, and the outcome of each request."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from time import monotonic
from typing import Any

import httpx

from app.contract.fingerprint import EXAMPLE
from app.pricing.prices import NANO
from deploy.loadtest.stack import TIMEOUT_S, Stack

PATH = "/v1/recommendations"
NUMBERS = count()
PAUSE_S, PAUSE_AFTER_FAILURE_S = 0.02, 0.2


def question(detail: str = "brief", stream: bool = False, number: int | None = None) -> dict[str, Any]:
    """Return a new question, or the one of a given number."""
    ticker = f"T{next(NUMBERS) if number is None else number}"
    return {"ticker": ticker, "metrics": EXAMPLE.document(), "detail": detail, "stream": stream}


def nano_usd(answer: Mapping[str, Any]) -> int:
    """Return the cost stated in an answer."""
    return int(Decimal(answer["cost"]["usd"]) * NANO)


@dataclass
class Payer:
    """A key used by one client at a time: the costs in its answers, and the number of requests without an answer."""

    name: str
    key: str
    stated: int = 0
    unanswered: int = 0


@dataclass(frozen=True)
class RequestObservation:
    """One request. Times are monotonic; `outcome` is ok, an error's code or status, or lost (broken connection)."""

    began: float
    ended: float
    outcome: str

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


@dataclass
class Load:
    """Concurrent clients. One request in `full_every` asks for a full answer, half of those as a stream; with 0 all are
    brief."""

    stack: Stack
    clients: int = 8
    full_every: int = 2
    pause_s: float = PAUSE_S
    asked: list[RequestObservation] = field(default_factory=list)
    payers: list[Payer] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        names = (name for name in self.stack.keys.by_name if name.startswith("payer-"))
        self.payers = [Payer(name, self.stack.keys.by_name[name]) for name in names]
        self._fresh = iter(self.payers)

    @property
    def failed(self) -> list[RequestObservation]:
        return [each for each in self.asked if not each.ok]

    @property
    def stated(self) -> int:
        return sum(payer.stated for payer in self.payers)

    def failures(self) -> str:
        """Return the number of failures by kind, as text."""
        return ", ".join(f"{number} {kind}" for kind, number in Counter(each.outcome for each in self.failed).items())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clients inside the context; each stops after its current request."""
        clients = [asyncio.create_task(self._client(place)) for place in range(self.clients)]
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(*clients)

    async def _client(self, place: int) -> None:
        payer = next(self._fresh)
        async with httpx.AsyncClient(base_url=self.stack.url, timeout=TIMEOUT_S, trust_env=False) as client:
            for turn in count(place):
                if self.over:
                    return
                asked = await self._ask(client, payer, turn)
                self.asked.append(asked)
                if not asked.ok:
                    payer = next(self._fresh, payer)
                await asyncio.sleep(self.pause_s if asked.ok else PAUSE_AFTER_FAILURE_S)

    async def _ask(self, client: httpx.AsyncClient, payer: Payer, turn: int) -> RequestObservation:
        full = bool(self.full_every) and turn % self.full_every == 0
        body = question("full" if full else "brief", stream=full and turn // self.full_every % 2 == 0)
        headers, began = {"Authorization": f"Bearer {payer.key}", "X-Backend": "mistral"}, monotonic()
        try:
            response = await client.post(PATH, json=body, headers=headers)
            outcome, answer = read(response)
        except httpx.TransportError:
            outcome, answer = "lost", None
        if answer is None:
            payer.unanswered += 1
        else:
            payer.stated += nano_usd(answer)
        return RequestObservation(began, monotonic(), outcome)


def read(response: httpx.Response) -> tuple[str, dict[str, Any] | None]:
    """Return the outcome and the answer, if any; a stream's answer is its last event."""
    streamed = response.headers["content-type"].startswith("text/event-stream")
    if not streamed:
        answer: dict[str, Any] = response.json()
        return ("ok", answer) if response.status_code == 200 else (str(answer.get("code", response.status_code)), None)
    event, _, data = response.text.rstrip().rpartition("\n\n")[2].partition("\n")
    if event == "event: recommendation":
        return "ok", json.loads(data.removeprefix("data: "))
    return (json.loads(data.removeprefix("data: "))["code"] if event == "event: error" else "lost"), None

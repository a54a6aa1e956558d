"""Clients that ask one question after the other through the balancer, and what became of each."""

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
    """A question that nobody has asked before, or the one of that number."""
    ticker = f"T{next(NUMBERS) if number is None else number}"
    return {"ticker": ticker, "metrics": EXAMPLE.document(), "detail": detail, "stream": stream}


def nano_usd(answer: Mapping[str, Any]) -> int:
    """What an answer says it cost."""
    return int(Decimal(answer["cost"]["usd"]) * NANO)


@dataclass
class Payer:
    """A key that one client at a time pays by: what answers said they cost, and how many requests had no answer."""

    name: str
    key: str
    stated: int = 0
    unheard: int = 0


@dataclass(frozen=True)
class RequestObservation:
    """Moments of the monotonic clock; `outcome` is ok, an error's code or status, or lost where a connection broke."""

    began: float
    ended: float
    outcome: str

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


@dataclass
class Load:
    """So many clients. Of the questions one in `full_every` is for a full answer, every other one of those as a stream;
    0: all are brief."""

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
        """The failures by kind."""
        return ", ".join(f"{number} {kind}" for kind, number in Counter(each.outcome for each in self.failed).items())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Clients stop when it ends, each after its last answer."""
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
            payer.unheard += 1
        else:
            payer.stated += nano_usd(answer)
        return RequestObservation(began, monotonic(), outcome)


def read(response: httpx.Response) -> tuple[str, dict[str, Any] | None]:
    """How it ended, and the answer, if it is one; a stream's is what its last event says."""
    streamed = response.headers["content-type"].startswith("text/event-stream")
    if not streamed:
        answer: dict[str, Any] = response.json()
        return ("ok", answer) if response.status_code == 200 else (str(answer.get("code", response.status_code)), None)
    event, _, data = response.text.rstrip().rpartition("\n\n")[2].partition("\n")
    if event == "event: recommendation":
        return "ok", json.loads(data.removeprefix("data: "))
    return (json.loads(data.removeprefix("data: "))["code"] if event == "event: error" else "lost"), None

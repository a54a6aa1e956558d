"""Random faults: gateways and their store are killed, and commands delayed, while callers send requests."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import httpx

from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.prompt import Detail
from app.stand_in import Mode
from tests.faults.delays import Delays
from tests.faults.running import Replica, question, stated, until
from tests.faults.upstream import Behavior, Upstream
from tests.valkey import Valkey

PATH = "/v1/recommendations"
MODES: tuple[Mode | None, ...] = (None, None, None, None, "500", "503", "429", "cut", "garbled", "malformed", "length")
DETAILS: tuple[Detail, ...] = ("brief", "full")
LEAVE, REPEAT = 0.15, 0.2
"""Shares of requests whose client disconnects early, and that repeat the latest question."""


@dataclass
class Question:
    """A question that may be asked several times, with a key that no other question uses."""

    mark: str
    backend: BackendName
    detail: Detail
    behavior: Behavior
    key: str
    asked: int = 0
    left: bool = False
    """A client disconnected early."""
    lost: bool = False
    """A gateway was killed while it handled the question."""
    stated: int = 0
    """Nano-dollars, according to the answers."""


@dataclass
class Chaos:
    """The processes, the callers and the faults."""

    replicas: tuple[Replica, Replica]
    valkey: Valkey
    delays: Delays
    upstream: Upstream
    random: Random
    keys: list[str]
    ends: float
    """The end, by the monotonic clock."""
    questions: list[Question] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    async def caller(self) -> None:
        """Ask questions, one at a time, until the end."""
        while time.monotonic() < self.ends:
            asked = self.questions[-1] if self.random.random() < REPEAT and self.questions else self.another()
            timeout_s = self.random.uniform(0.01, 0.3) if self.random.random() < LEAVE else None
            await self.ask(self.random.choice(self.replicas), asked, timeout_s)

    def another(self, behavior: Behavior | None = None, backend: BackendName | None = None) -> Question:
        """Draw a new question."""
        if behavior is None:
            times, pause_s = self.random.choice((1, 3)), self.random.choice((0.0, 0.002))
            behavior = Behavior(self.random.choice(MODES), times, pause_s)
        drawn, key = self.random.choice(BACKEND_NAMES), self.keys[len(self.questions)]
        self.questions.append(
            Question(self.upstream.mark(behavior), backend or drawn, self.random.choice(DETAILS), behavior, key)
        )
        return self.questions[-1]

    async def ask(self, replica: Replica, asked: Question, timeout_s: float | None = None) -> None:
        asked.asked += 1
        headers = {"X-Backend": asked.backend, "X-API-Key": asked.key}
        try:
            async with replica.client() as client:
                body = question(asked.mark, asked.detail)
                answer = await client.post(PATH, json=body, headers=headers, timeout=timeout_s or 60)
        except httpx.TimeoutException:
            asked.left = True
            self.ended["left"] += 1
        except httpx.ConnectError:
            self.ended["refused connection"] += 1
            await asyncio.sleep(0.1)
        except httpx.TransportError:
            asked.lost = True
            self.ended["lost"] += 1
        else:
            self.ended["ok" if answer.status_code == 200 else answer.json()["code"]] += 1
            asked.stated += stated(answer) if answer.status_code == 200 else 0

    async def kill_repeatedly(self) -> None:
        """Kill and restart gateways and the store until the end, each at least once."""
        for kill in (self.kill_a_gateway, self.kill_the_store):
            await kill()
        while time.monotonic() < self.ends:
            await self.random.choice((self.kill_a_gateway, self.kill_the_store))()

    async def kill_a_gateway(self) -> None:
        """Kill a gateway during a call, and restart it.

        It first releases what it could not admit in time: nothing else knows that such a call was not sent.
        """
        await self.delays.end()
        replica, asked = self.random.choice(self.replicas), self.another(Behavior(pause_s=0.02), "mistral")
        pending = asyncio.create_task(self.ask(replica, asked))
        await until(lambda: self.upstream.calls[asked.mark] > 0 or pending.done())
        await asyncio.sleep(self.random.uniform(0, 0.3))
        replica.kill()
        await pending
        await asyncio.to_thread(lambda: replica.start().wait())
        self.delays.begin()

    async def kill_the_store(self) -> None:
        """Kill the store, restart it, and leave time for deferred settlements."""
        await asyncio.sleep(self.random.uniform(0, 1))
        self.valkey.kill()
        await asyncio.sleep(self.random.uniform(0.1, 1.5))
        await asyncio.to_thread(self.valkey.start)
        await asyncio.sleep(2)

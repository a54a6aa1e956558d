"""Faults drawn at random: gateways and their store are killed now and then, and callers know nothing of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.prompt import Detail
from app.stand_in import Mode
from tests.faults.running import Replica, question, stated, until
from tests.faults.upstream import Doing, Upstream
from tests.valkey import Valkey

PATH = "/v1/recommendations"
MODES: tuple[Mode | None, ...] = (None, None, None, None, "500", "503", "429", "cut", "garbled", "malformed", "length")
DETAILS: tuple[Detail, ...] = ("brief", "full")
LEAVE, REPEAT = 0.15, 0.2
"""How many callers leave before they have their answer, and how many ask what another asked just before."""


@dataclass
class Question:
    """One that may be asked several times; whoever asks it pays by a key that no other question has."""

    mark: str
    backend: BackendName
    detail: Detail
    doing: Doing
    key: str
    asked: int = 0
    left: bool = False
    """One who asked has left."""
    lost: bool = False
    """A gateway was killed that had been asked it."""
    stated: int = 0
    """Nano-dollars, by the answers."""


@dataclass
class World:
    """All that takes part."""

    replicas: tuple[Replica, Replica]
    valkey: Valkey
    upstream: Upstream
    chance: random.Random
    keys: list[str]
    over: float
    """A moment of the monotonic clock."""
    questions: list[Question] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    async def caller(self) -> None:
        """Ask one thing after the other."""
        while time.monotonic() < self.over:
            asked = self.questions[-1] if self.chance.random() < REPEAT and self.questions else self.another()
            leaves_s = self.chance.uniform(0.01, 0.3) if self.chance.random() < LEAVE else None
            await self.ask(self.chance.choice(self.replicas), asked, leaves_s)

    def another(self, doing: Doing | None = None, backend: BackendName | None = None) -> Question:
        """A question that is drawn."""
        if doing is None:
            times, pause_s = self.chance.choice((1, 3)), self.chance.choice((0.0, 0.002))
            doing = Doing(self.chance.choice(MODES), times, pause_s)
        drawn, key = self.chance.choice(BACKEND_NAMES), self.keys[len(self.questions)]
        self.questions.append(
            Question(self.upstream.mark(doing), backend or drawn, self.chance.choice(DETAILS), doing, key)
        )
        return self.questions[-1]

    async def ask(self, replica: Replica, asked: Question, leaves_s: float | None = None) -> None:
        asked.asked += 1
        headers = {"X-Backend": asked.backend, "X-API-Key": asked.key}
        try:
            async with replica.client() as client:
                body = question(asked.mark, asked.detail)
                answer = await client.post(PATH, json=body, headers=headers, timeout=leaves_s or 60)
        except httpx.TimeoutException:
            asked.left = True
            self.ended["left"] += 1
        except httpx.ConnectError:
            self.ended["not let in"] += 1
            await asyncio.sleep(0.1)
        except httpx.TransportError:
            asked.lost = True
            self.ended["lost"] += 1
        else:
            self.ended["ok" if answer.status_code == 200 else answer.json()["code"]] += 1
            asked.stated += stated(answer) if answer.status_code == 200 else 0

    async def chaos(self) -> None:
        """Kill one thing after the other, and start it again; each at least once."""
        for kill in (self.kill_a_gateway, self.kill_the_store):
            await kill()
        while time.monotonic() < self.over:
            await self.chance.choice((self.kill_a_gateway, self.kill_the_store))()

    async def kill_a_gateway(self) -> None:
        """In mid-call: even a brief answer takes longer than the longest wait."""
        replica, asked = self.chance.choice(self.replicas), self.another(Doing(pause_s=0.05), "mistral")
        pending = asyncio.create_task(self.ask(replica, asked))
        await until(lambda: self.upstream.calls[asked.mark] > 0 or pending.done())
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        replica.kill()
        await pending
        await asyncio.to_thread(lambda: replica.start().wait())

    async def kill_the_store(self) -> None:
        """And wait until what was put off meanwhile has been booked."""
        await asyncio.sleep(self.chance.uniform(0, 1))
        self.valkey.kill()
        await asyncio.sleep(self.chance.uniform(0.1, 1.5))
        await asyncio.to_thread(self.valkey.start)
        await asyncio.sleep(2)

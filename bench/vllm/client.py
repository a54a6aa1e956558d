"""Requests to vLLM as the gateway sends them, each with other metrics, sequential and concurrent."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any

import aiohttp

from app.backends.dialects import VLLM
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from bench.varied import ticker, varied


@dataclass(frozen=True)
class Answer:
    """Seconds to the end and to the first text, and the tokens of the answer."""

    seconds: float
    first_text_s: float
    tokens: int

    @property
    def ms_per_token(self) -> float:
        return 1000 * (self.seconds - self.first_text_s) / max(1, self.tokens - 1)


@dataclass(frozen=True)
class Load:
    """A closed loop of several clients."""

    detail: Detail
    clients: int
    requests: int


@dataclass(frozen=True)
class Plan:
    """The number of sequential requests, and the loads."""

    alone: dict[Detail, int]
    loads: tuple[Load, ...]


PLAN = Plan({"brief": 10, "full": 3}, (Load("brief", 8, 48), Load("brief", 32, 128), Load("full", 8, 16)))
QUICK = Plan({"brief": 3, "full": 1}, (Load("brief", 8, 16), Load("brief", 32, 32), Load("full", 8, 8)))


class Client:
    """A client of the vLLM at `url`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str) -> None:
        self.session, self.url, self._model = session, url, model
        self.numbers = count(random.randrange(10**9))  # noqa: S311 - figures, not secrets

    async def ask(self, detail: Detail) -> Answer:
        """Return one answer's times. Raises `aiohttp.ClientError` for an error status."""
        body = self._body(detail, next(self.numbers))
        began = perf_counter()
        first, tokens = 0.0, 0
        async with self.session.post(f"{self.url}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                event = _event(line)
                if not first and any(choice["delta"].get("content") for choice in event.get("choices", ())):
                    first = perf_counter() - began
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        return Answer(perf_counter() - began, first, tokens)

    async def alone(self, plan: Plan) -> dict[str, Any]:
        """Return the medians of sequential answers."""
        found: dict[str, Any] = {}
        for detail, number in plan.alone.items():
            await self.ask(detail)  # fills the prefix cache
            answers = [await self.ask(detail) for _ in range(number)]
            found[detail] = {
                "seconds": round(statistics.median(answer.seconds for answer in answers), 3),
                "first_text_s": round(statistics.median(answer.first_text_s for answer in answers), 3),
                "tokens": statistics.median(answer.tokens for answer in answers),
                "ms_per_token": round(statistics.median(answer.ms_per_token for answer in answers), 1),
            }
        return found

    async def under(self, load: Load) -> dict[str, Any]:
        """Return answers and tokens a second under a load, and the medians of the answers' times."""
        left = iter(range(load.requests))
        answers: list[Answer] = []

        async def client() -> None:
            for _ in left:
                answers.append(await self.ask(load.detail))  # noqa: PERF401 - several clients share the list

        began = perf_counter()
        await asyncio.gather(*(client() for _ in range(load.clients)))
        seconds = perf_counter() - began
        return {
            "answers_per_second": round(len(answers) / seconds, 2),
            "tokens_per_second": round(sum(answer.tokens for answer in answers) / seconds, 1),
            "first_text_s": round(statistics.median(answer.first_text_s for answer in answers), 3),
            "ms_per_token": round(statistics.median(answer.ms_per_token for answer in answers), 1),
        }

    async def loads(self, loads: Sequence[Load]) -> dict[str, Any]:
        return {f"{load.detail}, {load.clients} clients": await self.under(load) for load in loads}

    def _body(self, detail: Detail, number: int) -> dict[str, Any]:
        metrics = Metrics.model_validate_json(json.dumps(varied(EXAMPLE.document(), number)))
        return VLLM.request(self._model, messages(metrics, ticker(number), detail), detail)


def _event(line: bytes) -> dict[str, Any]:
    """Return the event of a line of the stream; an empty one for a line without."""
    if not line.startswith(b"data: {"):
        return {}
    event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return event

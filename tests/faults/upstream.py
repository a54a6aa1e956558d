"""An upstream with a behavior per question, which counts what it has served for each.

A question is identified by its ticker. It validates requests and answers as the stand-in does.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count, islice

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from app.contract import rule_based_analyst as rules
from app.contract.completion import BackendName
from app.stand_in.delivery import corrupt, deliver, status_error
from app.stand_in.failures import Failure, Mode
from app.stand_in.protocol import Refused, hosted, parse_question, parse_request
from app.stand_in.replies import Reply
from app.stand_in.server import default_models, refuse
from app.stand_in.tally import Tally
from app.stand_in.tokens import answer_tokens

ALWAYS = 10**9
TICKER = re.compile(r"^ticker (\S+)$", re.MULTILINE)
UNKNOWN = ""
"""The mark of a question without a ticker."""


@dataclass(frozen=True)
class Behavior:
    """The behavior for a question: the first `times` calls fail with the mode, or stall in mid-answer."""

    mode: Mode | None = None
    times: int = ALWAYS
    pause_s: float = 0.0
    """Before each token."""
    retry_after: int = 0
    stalls: bool = False


class Upstream:
    """The models of both backends. It runs in another thread, so counters change while tests read them."""

    def __init__(self) -> None:
        self.behaviors: dict[str, Behavior] = {}
        self.tallies: dict[tuple[BackendName, str], Tally] = defaultdict(Tally)
        self.calls: Counter[str] = Counter()
        self.bodies: dict[str, bytes] = {}
        """The latest request body, by mark."""
        self.keys: set[str] = set()
        self._marks = count()

    def mark(self, behavior: Behavior | None = None) -> str:
        """Return a new ticker, with a behavior."""
        mark = f"Q{next(self._marks)}"
        if behavior is not None:
            self.behaviors[mark] = behavior
        return mark

    def served(self, backend: BackendName, *marks: str) -> Tally:
        """Return what it has served for a backend, for some questions or all."""
        total = Tally()
        for (name, mark), tally in list(self.tallies.items()):
            if name == backend and (not marks or mark in marks):
                for field, value in tally.document().items():
                    setattr(total, field, getattr(total, field) + value)
        return total

    def app(self) -> ASGIApp:
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ],
            exception_handlers={Refused: refuse},
        )

    async def _models(self, _: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": model, "object": "model"} for model in default_models()]}
        )

    async def _chat(self, request: Request) -> Response:
        body = await request.body()
        chat = parse_request(body)
        detail, lines = parse_question(chat)
        found = TICKER.search(chat.messages[0].content)
        mark = found[1] if found else UNKNOWN
        self.calls[mark] += 1
        self.bodies[mark] = body
        key = request.headers.get("authorization", "")
        self.keys.add(key)
        behavior = self.behaviors.get(mark, Behavior())
        mode = behavior.mode if self.calls[mark] <= behavior.times else None
        if mode and (refused := status_error(mode, behavior.retry_after, key)):
            raise refused
        reply = Reply(chat, detail, answer_tokens(rules.answer_from(lines, detail)))
        tally = self.tallies["mistral" if hosted(chat.model) else "gpt-4", mark]
        if behavior.stalls:
            return StreamingResponse(_stalled(reply, tally), media_type="text/event-stream")
        return deliver(corrupt(reply, mode), Failure(mode=mode) if mode else None, behavior.pause_s, tally)


async def _stalled(reply: Reply, tally: Tally) -> AsyncIterator[str]:
    """Send half an answer, and then nothing."""
    half = len(reply.tokens) // 2
    with tally.completion():
        try:
            for event in islice(reply.events(), half + 1):
                yield event
            await asyncio.Event().wait()
        finally:
            tally.count_tokens(reply, half)

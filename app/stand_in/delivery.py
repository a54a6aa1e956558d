"""How an answer goes out: at once or a token at a time, whole or, where told to fail, not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.stand_in.failures import SLOW_S, Mode
from app.stand_in.protocol import Refused
from app.stand_in.replies import Reply
from app.stand_in.speech import utter_plainly


@dataclass
class Tally:
    """How completions have gone so far: under way, answered to their end, left by the client before it."""

    open: int = 0
    answered: int = 0
    abandoned: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned += 1
            raise
        else:
            self.answered += 1
        finally:
            self.open -= 1

    def document(self) -> dict[str, int]:
        return asdict(self)


class CutResponse(StreamingResponse):
    """Ends without saying that it has, so that the connection is closed in the middle of the body."""

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": str(chunk).encode(), "more_body": True})


class NoResponse(Response):
    """Says nothing until the client has gone."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self._tally.open += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self._tally.open -= 1
        self._tally.abandoned += 1


def status_failure(mode: Mode, retry_after: int, key: str) -> Refused | None:
    """The error document of a mode that has one. It holds the key, as a careless server's might."""
    match mode:
        case "429":
            return Refused(429, f"slow down, {key}", code="rate_limit_exceeded", retry_after=retry_after)
        case "quota":
            return Refused(429, f"no quota left for {key}", code="insufficient_quota", retry_after=retry_after)
        case "500":
            return Refused(500, f"failed for {key}")
        case "503":
            return Refused(503, f"overloaded for {key}", retry_after=retry_after)
    return None


def spoilt(reply: Reply, mode: Mode | None) -> Reply:
    """The reply, as the mode would have it."""
    half = reply.spoken[: len(reply.spoken) // 2]
    match mode:
        case "refusal":
            return replace(reply, spoken=utter_plainly("I cannot help with that."), refusal=True)
        case "malformed":
            return replace(reply, spoken=half)
        case "length":
            return replace(reply, spoken=half, finish_reason="length")
        case "filtered":
            return replace(reply, spoken=half, finish_reason="content_filter")
        case "empty":
            return replace(reply, spoken=())
        case "unmetered":
            return replace(reply, metered=False)
    return reply


def deliver(reply: Reply, mode: Mode | None, pause_s: float, tally: Tally) -> Response:
    """The response; `pause_s` is waited before each token."""
    if mode == "timeout":
        return NoResponse(tally)
    if not reply.request.stream:
        with tally.counted():
            return JSONResponse(reply.whole())
    events, half = reply.events(), len(reply.spoken) // 2
    if mode == "cut":
        return CutResponse(_paced(islice(events, half), pause_s, tally), media_type="text/event-stream")
    if mode == "garbled":
        events = chain(islice(events, half), ['data: {"choices": [}\n\n'])
    pause = max(pause_s, SLOW_S) if mode == "slow" else pause_s
    return StreamingResponse(_paced(events, pause, tally), media_type="text/event-stream")


async def _paced(events: Iterable[str], pause_s: float, tally: Tally) -> AsyncIterator[str]:
    with tally.counted():
        for event in events:
            await asyncio.sleep(pause_s)
            yield event

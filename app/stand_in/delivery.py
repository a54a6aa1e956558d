"""How an answer goes out: at once or a token at a time, whole or, where told to fail, not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.stand_in.failures import DRIP, SLOW_S, Failure, Mode
from app.stand_in.protocol import Refused
from app.stand_in.replies import Reply
from app.stand_in.speech import utter_plainly
from app.stand_in.tally import Tally

Part = tuple[str, int]
"""What is sent at once, and the tokens that have then been sent."""


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


def deliver(reply: Reply, failure: Failure | None, pause_s: float, tally: Tally) -> Response:
    """The response; `pause_s` is waited before each token."""
    mode = failure.mode if failure else None
    if mode == "timeout":
        return NoResponse(tally)
    late_s = failure.delay if failure and mode == "late" else 0.0
    if not reply.request.stream:
        tokens = len(reply.spoken)
        parts: Iterable[Part] = [(json.dumps(reply.whole()), tokens)]
        sent = _sent(reply, parts, late_s + pause_s * tokens, 0.0, tally)
        return StreamingResponse(sent, media_type="application/json")
    events, half = reply.events(), len(reply.spoken) // 2
    if mode == "cut":
        parts = _counted(reply, islice(events, half))
        return CutResponse(_sent(reply, parts, 0.0, pause_s, tally), media_type="text/event-stream")
    if mode == "garbled":
        events = chain(islice(events, half), ['data: {"choices": [}\n\n'])
    parts = _counted(reply, events)
    if mode == "drip":
        parts = _dripped(parts)
    pause = max(pause_s, SLOW_S) if mode in ("slow", "drip") else pause_s
    return StreamingResponse(_sent(reply, parts, late_s, pause, tally), media_type="text/event-stream")


def _counted(reply: Reply, events: Iterable[str]) -> Iterator[Part]:
    """The first event only says whose turn it is, those after the last token end the stream."""
    for number, event in enumerate(events):
        yield event, min(number, len(reply.spoken))


def _dripped(parts: Iterable[Part]) -> Iterator[Part]:
    for text, tokens in parts:
        for start in range(0, len(text), DRIP):
            yield text[start : start + DRIP], tokens


async def _sent(reply: Reply, parts: Iterable[Part], late_s: float, pause_s: float, tally: Tally) -> AsyncIterator[str]:
    tokens = None
    with tally.counted():
        try:
            await asyncio.sleep(late_s)
            for text, after in parts:
                await asyncio.sleep(pause_s)
                yield text
                tokens = after
        finally:
            if tokens is not None:
                tally.serve(reply, tokens)

"""Responses of the stand-in, with the requested pace and the requested failure."""

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
from app.stand_in.tally import Tally
from app.stand_in.tokens import text_tokens

Part = tuple[str, int]
"""A chunk of the body, and the number of tokens that have been sent with it."""


class TruncatedResponse(StreamingResponse):
    """A response without an end, so that the server closes the connection in the middle of the body."""

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": str(chunk).encode(), "more_body": True})


class HangingResponse(Response):
    """Sends nothing until the client disconnects."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self._tally.open += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self._tally.open -= 1
        self._tally.abandoned += 1


def status_error(mode: Mode, retry_after: int, key: str) -> Refused | None:
    """Return the error of a mode that has one. It contains the key, as a careless server's might."""
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


def corrupt(reply: Reply, mode: Mode | None) -> Reply:
    """Return the reply with the failure of the mode."""
    half = reply.tokens[: len(reply.tokens) // 2]
    match mode:
        case "refusal":
            return replace(reply, tokens=text_tokens("I cannot help with that."), refusal=True)
        case "malformed":
            return replace(reply, tokens=half)
        case "length":
            return replace(reply, tokens=half, finish_reason="length")
        case "filtered":
            return replace(reply, tokens=half, finish_reason="content_filter")
        case "empty":
            return replace(reply, tokens=())
        case "unmetered":
            return replace(reply, metered=False)
    return reply


def deliver(reply: Reply, failure: Failure | None, pause_s: float, tally: Tally) -> Response:
    """Return the response, with a pause of `pause_s` before each token."""
    mode = failure.mode if failure else None
    if mode == "timeout":
        return HangingResponse(tally)
    delay_s = failure.delay if failure and mode == "late" else 0.0
    if not reply.request.stream:
        tokens = len(reply.tokens)
        parts: Iterable[Part] = [(json.dumps(reply.completion()), tokens)]
        body = _send(reply, parts, delay_s + pause_s * tokens, 0.0, tally)
        return StreamingResponse(body, media_type="application/json")
    events, half = reply.events(), len(reply.tokens) // 2
    if mode == "cut":
        parts = _with_token_counts(reply, islice(events, half))
        return TruncatedResponse(_send(reply, parts, 0.0, pause_s, tally), media_type="text/event-stream")
    if mode == "garbled":
        events = chain(islice(events, half), ['data: {"choices": [}\n\n'])
    parts = _with_token_counts(reply, events)
    if mode == "drip":
        parts = _in_small_writes(parts)
    pause = max(pause_s, SLOW_S) if mode in ("slow", "drip") else pause_s
    return StreamingResponse(_send(reply, parts, delay_s, pause, tally), media_type="text/event-stream")


def _with_token_counts(reply: Reply, events: Iterable[str]) -> Iterator[Part]:
    """Pair each event with the tokens sent so far: the first has none, and those after the last token add none."""
    for number, event in enumerate(events):
        yield event, min(number, len(reply.tokens))


def _in_small_writes(parts: Iterable[Part]) -> Iterator[Part]:
    for text, tokens in parts:
        for start in range(0, len(text), DRIP):
            yield text[start : start + DRIP], tokens


async def _send(
    reply: Reply, parts: Iterable[Part], delay_s: float, pause_s: float, tally: Tally
) -> AsyncIterator[str]:
    sent = None
    with tally.completion():
        try:
            await asyncio.sleep(delay_s)
            for text, count in parts:
                await asyncio.sleep(pause_s)
                yield text
                sent = count
        finally:
            if sent is not None:
                tally.count_tokens(reply, sent)

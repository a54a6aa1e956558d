"""The event loop's longest turn for one request, in seconds of processor time: other requests wait that long."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from time import thread_time
from typing import Any

import pytest

from app.api import batches, body, chat
from app.contract.recommendation import ANALYSIS_MAX, FullAnswer, canonical
from app.serving.message_limits import MAX_HEAD_BYTES
from tests.doubles import EXAMPLE_BODY, Gateway, completion
from tests.threats.conftest import KEY

LONGEST_S, MORE_S = 0.2, 0.2
"""The limit of a turn, and what each megabyte adds to it: over twice what parsing takes on a slow machine, and half of
what the inputs of `smallest` took."""
LIMITS = {
    "/v1/recommendations": body.MAX_BYTES,
    "/v1/recommendations/batch": batches.MAX_BYTES,
    "/v1/comparisons": body.MAX_BYTES,
    "/v1/chat/completions": chat.MAX_BYTES,
    "/v1/keys": body.MAX_BYTES,
}
VALUES = ("1", '""', "[]", "{}", "null", "1e9", '"a.b"', '{"role":1}')
FRAMES = (
    '{"metrics":{"options":{%s}}}',
    '{"items":[{%s}]}',
    '{"items":[{"metrics":{"technicals":{%s}}}]}',
    '{"items":[1],%s}',
    '{"model":"mistral","messages":[{%s}]}',
    "{%s}",
)
LISTS = ('{"items":[%s]}', '{"model":"mistral","messages":[%s]}', '{"name":"a","backends":[%s]}', "[%s]")
HEADERS = (b"accept", b"cache-control", b"content-type", b"x-backend", b"idempotency-key", b"if-none-match", b"host")
PIECES = (
    "a,",
    ",",
    ";q=1",
    "a;q=1,",
    "a=1&",
    "tickers=A&",
    "A,",
    "%2c",
    "&",
    "from=2024-01-01&",
    "1",
    "-",
    "*/*,",
    " ",
)


@dataclass(frozen=True)
class Hostile:
    """A request, without its key."""

    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes | None = None


def members(size: int, value: str) -> str:
    return ",".join(f'"{number}":{value}' for number in range(size // (len(value) + 10)))


def drawn(seed: int) -> Hostile:
    """Return a request that repeats something as often as its limit allows."""
    draw = random.Random(seed)
    piece = draw.choice(PIECES) + draw.choice(("", *PIECES))
    repeated = (piece * MAX_HEAD_BYTES)[:MAX_HEAD_BYTES].encode()
    match seed % 4:
        case 0:
            return Hostile("/v1/comparisons" + draw.choice(("", "/report")), query=repeated)
        case 1:
            path = draw.choice(("/v1/comparisons/report", "/", "/v1/recommendations"))
            content = None if path != "/v1/recommendations" else json.dumps(EXAMPLE_BODY).encode()
            return Hostile(path, headers=((draw.choice(HEADERS), repeated),), content=content)
        case 2:
            path, size = draw.choice(list(LIMITS.items()))
            return Hostile(path, content=(draw.choice(FRAMES) % members(size - 100, draw.choice(VALUES))).encode())
    path, size = draw.choice(list(LIMITS.items()))
    value = draw.choice(VALUES)
    return Hostile(path, content=(draw.choice(LISTS) % ",".join([value] * ((size - 100) // (len(value) + 1)))).encode())


def smallest() -> Iterator[Hostile]:
    """Yield requests of each kind that once blocked the loop."""
    yield Hostile("/v1/comparisons/report", query=b"a=&" * (MAX_HEAD_BYTES // 3))
    yield Hostile("/v1/comparisons/report", query=b"tickers=" + b"A," * (MAX_HEAD_BYTES // 2))
    yield Hostile("/v1/comparisons/report", headers=((b"accept", b"a;q=1," * (MAX_HEAD_BYTES // 6)),))
    size = chat.MAX_BYTES - 100
    yield Hostile("/v1/chat/completions", content=b'{"model":"mistral","messages":[%b1]}' % (b"1," * (size // 2)))
    size = batches.MAX_BYTES - 100
    yield Hostile("/v1/recommendations/batch", content=b'{"items":[{%b}]}' % members(size, "1").encode())


async def longest_turn(running: Gateway, request: Hostile) -> float:
    """Send the request without a client's own work, and return the processor time of the loop's longest turn."""
    longest = 0.0

    async def probe() -> None:
        nonlocal longest
        while True:
            began = thread_time()
            await asyncio.sleep(0)
            longest = max(longest, thread_time() - began)

    probing = asyncio.create_task(probe())
    await asyncio.sleep(0)
    status = await answered(running, request)
    await asyncio.sleep(0)  # the probe measures the last turn
    probing.cancel()
    assert 200 <= status < 500
    assert longest > 0
    return longest


async def answered(running: Gateway, request: Hostile) -> int:
    """Return the status of the response."""
    own = {b"content-type": b"application/json", b"x-api-key": KEY.encode()}
    headers = list({**own, **dict(request.headers)}.items())
    messages = [{"type": "http.request", "body": request.content or b"", "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if request.content is None else "POST",
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": request.query,
        "headers": headers,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    await running.app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_no_request_blocks_the_event_loop(running_with_keys: Gateway) -> None:
    """Repeat a request that takes long, since another process on the same core slows it down."""
    for request in (*smallest(), *map(drawn, range(40))):
        limit = LONGEST_S + MORE_S * len(request.content or b"") / 1e6
        taken = await longest_turn(running_with_keys, request)
        if taken > limit:
            taken = min(taken, await longest_turn(running_with_keys, request))
        assert taken < limit, request.path + str((request.query + (request.content or b""))[:200])


@pytest.mark.parametrize("unit", ["1,", "1/", "\n", "sma 9,", "1.1 ", "R1."])
async def test_no_answer_blocks_the_event_loop(running_with_keys: Gateway, unit: str) -> None:
    answer = FullAnswer(analysis=(unit * ANALYSIS_MAX)[:ANALYSIS_MAX], action="buy", conviction=5)
    running_with_keys.mistral.script = [completion(canonical(answer))]
    request = Hostile("/v1/comparisons", content=json.dumps(EXAMPLE_BODY | {"detail": "full"}).encode())
    assert await longest_turn(running_with_keys, request) < LONGEST_S

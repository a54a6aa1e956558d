"""Connections that send a few bytes at a time, and connections that are cut in the middle of a body."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlsplit

import pytest

from app.stand_in import Mode
from tests.faults.conftest import Start
from tests.faults.running import Books, Replica, chat, question, stated, until
from tests.faults.upstream import Behavior, Upstream

PATH, CHAT = "/v1/recommendations", "/v1/chat/completions"


async def test_an_upstream_that_drips_its_first_token_times_out(start: Start, upstream: Upstream) -> None:
    """Bytes that complete no token do not count as the first token."""
    replica = start(CONVICTION_FIRST_TOKEN_TIMEOUT_S="0.5")
    mark = upstream.mark(Behavior("drip"))
    began = time.monotonic()
    async with replica.client() as client:
        answer = await client.post(PATH, json=question(mark))
    assert (answer.status_code, time.monotonic() - began < 10) == (504, True)
    await until(lambda: upstream.tallies["mistral", mark].abandoned == 1)


@pytest.mark.parametrize(("path", "mode"), [(PATH, "slow"), (CHAT, "slow"), (CHAT, "drip")])
async def test_an_upstream_that_drips_on_is_cut_off_by_the_deadline(
    path: str, mode: Mode, replica: Replica, upstream: Upstream, shared_books: Books
) -> None:
    """What it had sent by then is billed."""
    mark, before = upstream.mark(Behavior(mode)), await shared_books.ledger("mistral")
    body = (question if path == PATH else chat)(mark, "full", stream=True)
    began = time.monotonic()
    async with replica.client() as client:
        answer = await client.post(path, json=body, headers={"X-Timeout-Ms": "4000"})
    assert "deadline_exceeded" in answer.text
    assert time.monotonic() - began < 20
    tally = upstream.tallies["mistral", mark]
    await until(lambda: tally.abandoned == 1)
    await shared_books.closed()
    booked = await shared_books.ledger("mistral") - before
    assert (booked["requests"], booked["estimated_requests"]) == (1, 0)
    assert booked["input_tokens"] + booked["cached_input_tokens"] == tally.prompt_tokens
    assert mode == "drip" or booked["output_tokens"] > 0
    assert booked["output_tokens"] <= tally.completion_tokens <= booked["output_tokens"] + 5


@pytest.mark.parametrize(("path", "stream"), [(PATH, False), (PATH, True), (CHAT, True)])
async def test_an_answer_that_is_cut_is_an_error_and_billed_as_far_as_it_came(
    path: str, stream: bool, replica: Replica, upstream: Upstream, shared_books: Books
) -> None:
    mark, before = upstream.mark(Behavior("cut")), await shared_books.ledger("mistral")
    body = (question if path == PATH else chat)(mark, "full", stream=stream)
    async with replica.client() as client:
        answer = await client.post(path, json=body)
        assert "backend_error" in answer.text or "broke its answer off" in answer.text
        assert answer.status_code == (200 if stream else 502)
        await shared_books.closed()
        booked, tally = await shared_books.ledger("mistral") - before, upstream.tallies["mistral", mark]
        assert booked["requests"] == 1
        assert booked["input_tokens"] + booked["cached_input_tokens"] == tally.prompt_tokens
        assert 0 <= tally.completion_tokens - booked["output_tokens"] <= 1
        stated(await client.post(PATH, json=question(upstream.mark())))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_that_is_cut_in_mid_body_is_nobody_s(
    chunked: bool, replica: Replica, upstream: Upstream, shared_books: Books
) -> None:
    """It reaches no backend, is not billed, and is not an error of the gateway."""
    mark, before = upstream.mark(), await shared_books.ledger()
    body = json.dumps(question(mark)).encode()
    half = body[: len(body) // 2]
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n".encode()
    if chunked:
        sent = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(half), half)
    else:
        sent = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), half)
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(replica.url).port)
    writer.write(sent)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    await writer.wait_closed()
    async with replica.client() as client:
        stated(await client.post(PATH, json=question(upstream.mark())))
    await shared_books.closed()
    assert upstream.calls[mark] == 0
    assert (await shared_books.ledger() - before)["requests"] == 1
    log = replica.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log

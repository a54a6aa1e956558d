"""Idempotency-Key: a repeat is answered as the first request was, and billed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api import idempotency as once
from app.contract.completion import Usage
from app.errors import BackendError
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, PRICES, USAGE, Broken, Gateway, ask, completion, gateway, ledger
from tests.valkey import Valkey

BUY, SELL = '{"action":"buy","conviction":7}', '{"action":"sell","conviction":3}'
COST = PRICES["mistral"].cost(USAGE).nano_usd
HELLO = {"model": "gpt-4", "messages": [{"role": "user", "content": "Good morning."}]}


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True) as running:
        running.mistral.script = [completion(BUY), completion(SELL)]
        yield running


async def keyed(running: Gateway, body: object = None, key: str = "first", **headers: str) -> httpx.Response:
    return await ask(running, body, Idempotency_Key=key, **headers)


async def test_a_repeat_gets_the_same_response_and_is_charged_once(running: Gateway) -> None:
    first, again = await keyed(running), await keyed(running)
    assert again.content == first.content
    assert (first.status_code, again.status_code, running.asked) == (200, 200, 1)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-backend"] == "mistral"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (await ledger(running, "mistral"))["nano_usd"] == COST


async def test_without_a_key_or_under_another_it_is_another_request(running: Gateway) -> None:
    await keyed(running)
    assert (await keyed(running, key="second")).json()["action"] == "sell"
    assert (await ask(running)).status_code == 200
    assert running.asked == 3


async def test_a_repeat_takes_nothing_of_a_limit_and_tells_no_stale_one(own_store: str) -> None:
    async with gateway(own_store, mistral_requests_per_minute=1) as running:
        assert "ratelimit" in (await keyed(running)).headers
        again = await keyed(running)
        assert again.status_code == 200
        assert not {"ratelimit", "ratelimit-policy"} & set(again.headers)


async def test_repeats_wait_for_the_first(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    first = asyncio.create_task(keyed(running))
    await running.mistral.began(1)
    repeats = [asyncio.create_task(keyed(running)) for _ in range(3)]
    await asyncio.sleep(0.2)
    assert not any(repeat.done() for repeat in repeats)
    running.mistral.go.set()
    assert {response.content for response in await asyncio.gather(first, *repeats)} == {(await first).content}
    assert running.asked == 1


async def test_a_repeat_waits_no_longer_than_its_own_deadline(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    first = asyncio.create_task(keyed(running))
    await running.mistral.began(1)
    assert_problem(await keyed(running, X_Timeout_Ms="200"), 504, "deadline_exceeded", "still in progress")
    running.mistral.go.set()
    assert (await first).status_code == 200


async def test_a_key_goes_with_one_body_backend_path_and_holder(running: Gateway) -> None:
    await keyed(running)
    for body, headers in ((EXAMPLE_BODY | {"ticker": "AAPL"}, {}), (None, {"X_Backend": "gpt-4"})):
        assert_problem(await keyed(running, body, **headers), 409, "idempotency_conflict", "used for another request")
    response = await running.client.post("/v1/chat/completions", json=HELLO, headers={"Idempotency-Key": "first"})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert running.asked == 1


async def test_a_failure_is_not_stored_and_its_tokens_are_charged(running: Gateway) -> None:
    running.mistral.script = [Broken(BUY, BackendError("broke off"), Usage(400, 5)), completion(BUY)]
    assert_problem(await keyed(running), 502, "backend_error")
    answer = await keyed(running)
    assert (answer.status_code, answer.json()["action"]) == (200, "buy")
    assert (await ledger(running, "mistral"))["requests"] == 2


async def test_a_repeat_is_executed_when_the_first_request_fails(running: Gateway) -> None:
    running.mistral.script = [Broken(BUY, BackendError("broke off"), Usage(400, 5)), completion(BUY)]
    running.mistral.go = asyncio.Event()
    first = asyncio.create_task(keyed(running))
    await running.mistral.began(1)
    second = asyncio.create_task(keyed(running))
    await asyncio.sleep(0.1)
    running.mistral.go.set()
    assert ((await first).status_code, (await second).status_code) == (502, 200)


async def test_a_client_that_lost_its_connection_comes_back_for_the_answer_and_is_billed_once(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    lost = asyncio.create_task(keyed(running))
    await running.mistral.began(1)
    lost.cancel()
    await asyncio.wait((lost,))
    await asyncio.sleep(0.3)
    assert not running.mistral.streams[0].left.is_set()
    back = asyncio.create_task(keyed(running))
    running.mistral.go.set()
    response = await back
    assert (response.json()["action"], response.headers["idempotency-replayed"]) == ("buy", "true")
    assert (running.asked, (await ledger(running, "mistral"))["nano_usd"]) == (1, COST)


async def test_without_a_key_a_client_that_leaves_gives_the_answer_up(running: Gateway) -> None:
    running.mistral.go = asyncio.Event()
    lost = asyncio.create_task(ask(running))
    await running.mistral.began(1)
    lost.cancel()
    await asyncio.wait_for(running.mistral.streams[0].left.wait(), 2)


async def test_a_first_that_takes_long_is_not_taken_for_lost(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "LEASE_S", 0.4)
    monkeypatch.setattr(once, "RENEW_S", 0.1)
    running.mistral.go = asyncio.Event()
    first = asyncio.create_task(keyed(running))
    await running.mistral.began(1)
    repeat = asyncio.create_task(keyed(running))
    await asyncio.sleep(1)
    running.mistral.go.set()
    assert (await first).content == (await repeat).content
    assert running.asked == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two\twords", "caf\xe9"])
async def test_an_invalid_key_is_refused(running: Gateway, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    response = await running.client.post("/v1/recommendations", json=EXAMPLE_BODY, headers=headers)
    assert_problem(response, 422, "invalid_request", "Idempotency-Key must be 1 to 255")
    assert running.asked == 0


async def test_streams_and_batches_refuse_a_key(running: Gateway) -> None:
    assert_problem(await keyed(running, EXAMPLE_BODY | {"stream": True}), 422, "invalid_request", "Idempotency-Key")
    headers = {"Idempotency-Key": "first"}
    batch = await running.client.post("/v1/recommendations/batch", json={"items": [EXAMPLE_BODY]}, headers=headers)
    assert_problem(batch, 422, "invalid_request", "Idempotency-Key")
    chat = await running.client.post("/v1/chat/completions", json=HELLO | {"stream": True}, headers=headers)
    assert chat.status_code == 422
    assert running.asked == 0


async def test_a_chat_completion_is_stored_with_its_cost(running: Gateway) -> None:
    headers = {"Idempotency-Key": "chat"}
    first, again = [await running.client.post("/v1/chat/completions", json=HELLO, headers=headers) for _ in range(2)]
    assert again.content == first.content
    assert again.headers["x-cost-usd"] == first.headers["x-cost-usd"]
    assert len(running.backends["gpt-4"].chats) == 1


async def test_a_refusal_of_the_backend_is_not_stored(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.doubles.ScriptedChat.status", 400)
    headers = {"Idempotency-Key": "chat"}
    for _ in range(2):
        response = await running.client.post("/v1/chat/completions", json=HELLO, headers=headers)
        assert (response.status_code, "idempotency-replayed" in response.headers) == (400, False)
    assert len(running.backends["gpt-4"].chats) == 2


# An unavailable store


async def test_without_the_store_the_request_is_not_executed(valkey: Valkey) -> None:
    async with gateway(valkey.url) as running:
        valkey.kill()
        assert_problem(await keyed(running), 503, "store_unavailable")
        assert running.asked == 0
        assert (await ask(running)).status_code == 200


async def test_a_response_that_cannot_be_stored_is_still_sent(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(valkey.url, wire=True) as running:
        running.mistral.go = asyncio.Event()
        first = asyncio.create_task(keyed(running))
        await running.mistral.began(1)
        valkey.kill()
        running.mistral.go.set()
        assert (await first).status_code == 200
        assert "the response is not stored under its Idempotency-Key" in caplog.text
        valkey.start()

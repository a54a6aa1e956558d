"""Batches: a line an item as it is answered, each failing alone, none faster than the client reads."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from app.contract.completion import Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.recommendation import FullAnswer, canonical
from app.errors import BackendError, BackendUnavailable
from app.pricing.prices import NANO
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, PRICES, USAGE, Broken, Gateway, ask, completion, gateway, ledger
from tests.waiting import until

PATH = "/v1/recommendations/batch"
BUY = '{"action":"buy","conviction":7}'
SOON_S = 20.0

Line = dict[str, Any]


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, cache_s=60) as running:
        yield running


def item(number: int, **more: object) -> dict[str, object]:
    """An item that no other is the same as."""
    return EXAMPLE_BODY | {"ticker": f"T{number}"} | more


@asynccontextmanager
async def streaming(running: Gateway, body: object, **headers: str) -> AsyncIterator[httpx.Response]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with running.client.stream("POST", PATH, json=body, headers=names) as response:
        yield response


async def lines(running: Gateway, items: list[Any], **more: Any) -> tuple[list[Line], Line]:
    """The items' lines, and the summary."""
    async with streaming(running, {"items": items, **more}) as response:
        assert response.status_code == 200
        *received, last = [json.loads(line) async for line in response.aiter_lines()]
        assert set(last) == {"summary"}
        return received, last["summary"]


def outcomes(running: Gateway, outcome: str, detail: str = "brief") -> float:
    return running.sample("conviction_requests_total", backend="mistral", detail=detail, outcome=outcome)


async def test_every_item_has_its_line_and_the_last_sums_up(running: Gateway) -> None:
    received, summary = await lines(running, [item(number) for number in range(40)])
    assert sorted(line["index"] for line in received) == list(range(40))
    for line in received:
        assert (line["status"], line["answer"]["ticker"]) == (200, f"T{line['index']}")
        assert line["answer"]["source"] == "model"
    costs = sum(Decimal(line["answer"]["cost"]["usd"]) for line in received)
    assert summary == {"items": 40, "succeeded": 40, "failed": 0, "usd": f"{costs.normalize():f}"}
    assert (await ledger(running, "mistral"))["nano_usd"] == costs * NANO == 40 * PRICES["mistral"].cost(USAGE).nano_usd
    assert outcomes(running, "ok") == 40
    assert running.asked == 40


async def test_an_answer_is_the_one_that_the_item_alone_would_get(running: Gateway) -> None:
    [line], _ = await lines(running, [item(1)])
    alone = (await ask(running, item(1))).json()
    assert alone["source"] == "cache"
    assert {name for name in alone if alone[name] != line["answer"][name]} <= {
        *("id", "created_at", "source", "usage", "timing", "cost"),
    }


async def test_lines_come_as_items_are_answered(running: Gateway) -> None:
    running.mistral.go = go = asyncio.Event()
    refused = {"ticker": "NO SUCH"}
    async with streaming(running, {"items": [item(0), refused, item(2)]}) as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        assert (response.headers["x-accel-buffering"], response.headers["x-backend"]) == ("no", "mistral")
        async with aclosing(response.aiter_lines()) as coming:
            async with asyncio.timeout(SOON_S):
                assert json.loads(await anext(coming))["index"] == 1
            await running.mistral.began(2)
            assert not running.mistral.streams[0].left.is_set()
            go.set()
            assert {json.loads(await anext(coming))["index"] for _ in range(2)} == {0, 2}


async def test_an_invalid_item_fails_alone_with_its_problem(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    bad: dict[int, tuple[Any, int, str]] = {
        1: ({"tickr": "X"}, 422, "invalid_request"),
        3: ({"metrics": {"price": 10}}, 422, "invalid_metrics"),
        5: ("SNPS", 422, "invalid_request"),
        6: (None, 422, "invalid_request"),
        7: ({"ticker": "NOPE"}, 404, "unknown_ticker"),
        8: (item(8, stream=True), 422, "invalid_request"),
        9: (item(9, detail="some"), 422, "invalid_request"),
    }
    received, summary = await lines(running, [bad[n][0] if n in bad else item(n) for n in range(12)], detail="brief")
    for line in received:
        if line["index"] not in bad:
            assert line["status"] == 200
            continue
        _, status, code = bad[line["index"]]
        assert (line["status"], line["problem"]["status"], line["problem"]["code"]) == (status, status, code)
        assert "answer" not in line
    assert (summary["succeeded"], summary["failed"]) == (5, 7)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_line_has_the_client_s_id_of_its_item(running: Gateway) -> None:
    items = [item(0, custom_id="ä b/1"), item(1), {"ticker": "NO SUCH", "custom_id": "x" * 64}, item(3, custom_id=None)]
    received, _ = await lines(running, items)
    assert {line["index"]: line.get("custom_id") for line in received} == {0: "ä b/1", 1: None, 2: "x" * 64, 3: None}
    assert [list(line)[:3] for line in received if line["index"] == 0] == [["index", "custom_id", "status"]]
    assert ["custom_id" in line for line in sorted(received, key=lambda line: line["index"])] == [True, False] * 2


@pytest.mark.parametrize("custom_id", ["", "x" * 65, 7, ["a"]])
async def test_an_item_with_an_invalid_id_fails_alone_and_without_it(running: Gateway, custom_id: object) -> None:
    received, summary = await lines(running, [item(0, custom_id=custom_id), item(1, custom_id="b")])
    [failed] = [line for line in received if line["index"] == 0]
    assert (failed["status"], failed["problem"]["errors"][0]["field"], failed.get("custom_id")) == (
        *(422, "custom_id", None),
    )
    assert summary["succeeded"] == 1


async def test_two_items_with_one_id_are_refused_before_any_work(running: Gateway) -> None:
    items = [item(0, custom_id="a"), item(1, custom_id="b"), {"custom_id": "a"}]
    response = await running.client.post(PATH, json={"items": items})
    assert_problem(response, 422, "invalid_request", "items.2.custom_id")
    assert running.asked == 0


async def test_lines_fit_their_schema(running: Gateway) -> None:
    document = (await running.client.get("/openapi.json")).json()
    content = document["paths"][PATH]["post"]["responses"]["200"]["content"]["application/x-ndjson"]
    form = content["schema"]["contentSchema"] | {"components": document["components"]}
    received, summary = await lines(running, [item(0, custom_id="a"), {"ticker": "NO SUCH"}])
    for line in (*received, {"summary": summary}):
        Draft202012Validator(form).validate(line)


async def test_a_model_that_fails_for_one_fails_for_that_one(running: Gateway) -> None:
    running.mistral.script = [
        BackendUnavailable("mistral cannot be reached", retry_after=4.2),
        Broken(BUY, BackendError("broke off"), Usage(400, 5)),
        RuntimeError("/secret/path exploded"),
    ]
    received, summary = await lines(running, [item(number) for number in range(6)])
    failed = {line["problem"]["code"]: line["problem"] for line in received if line["status"] != 200}
    assert set(failed) == {"backend_unavailable", "backend_error", "internal_error"}
    assert failed["backend_unavailable"]["retry_after"] == 5
    assert "exploded" not in str(failed)
    assert (summary["succeeded"], summary["failed"]) == (3, 3)
    assert Decimal(summary["usd"]) * NANO == 3 * PRICES["mistral"].cost(USAGE).nano_usd


async def test_each_item_needs_a_valid_key(own_store: str, tmp_path: Path) -> None:
    """The items that start after the key's revocation are refused."""
    file, root = tmp_path / "keys", {"X-API-Key": "root-key-0123456789abcdef"}
    file.write_text(f"root:{root['X-API-Key']}\n")
    file.chmod(0o600)
    async with gateway(own_store, wire=True, api_keys_file=file, batch_max_concurrency=2) as running:
        issued = (await running.client.post("/v1/keys", json={"name": "ann"}, headers=root)).json()
        running.mistral.go = asyncio.Event()
        items = {"items": [item(number) for number in range(6)]}
        async with streaming(running, items, X_API_Key=issued["key"]) as response:
            await running.mistral.began(2)
            assert (await running.client.delete(f"/v1/keys/{issued['record']['id']}", headers=root)).status_code == 204
            running.mistral.go.set()
            *received, last = [json.loads(line) async for line in response.aiter_lines()]
        codes = [line["problem"]["code"] if line["status"] != 200 else "" for line in received]
        assert sorted(codes) == ["", "", *["unauthorized"] * 4]
        assert (last["summary"]["succeeded"], running.asked) == (2, 2)


async def test_each_item_counts_against_limits(own_store: str) -> None:
    async with gateway(own_store, mistral_requests_per_minute=5) as running:
        received, summary = await lines(running, [item(number) for number in range(8)])
        assert (summary["succeeded"], summary["failed"]) == (5, 3)
        for line in received:
            if line["status"] != 200:
                assert (line["status"], line["problem"]["code"]) == (429, "rate_limited")
                assert 0 < line["problem"]["retry_after"] <= 12
        assert running.sample("conviction_limited_total", scope="backend", reason="requests") == 3


async def test_an_item_overrides_the_detail_of_the_batch(running: Gateway) -> None:
    bare = {name: value for name, value in EXAMPLE_BODY.items() if name != "detail"}
    received, _ = await lines(running, [bare, {**bare, "detail": "full"}], detail="brief")
    details = {line["index"]: line["answer"]["analysis"] is not None for line in received}
    assert details == {0: False, 1: True}
    received, _ = await lines(running, [bare])
    assert received[0]["answer"]["analysis"] is not None


async def test_a_header_names_the_backend_of_all(running: Gateway) -> None:
    async with streaming(running, {"items": [item(1)]}, X_Backend="GPT-4") as response:
        received = [json.loads(line) async for line in response.aiter_lines()]
    assert received[0]["answer"]["backend"] == "gpt-4"


async def test_each_item_has_the_whole_time(own_store: str) -> None:
    async with gateway(own_store, wire=True, batch_max_concurrency=1) as running:
        running.mistral.go = asyncio.Event()
        async with streaming(running, {"items": [item(1), item(2)]}, X_Timeout_Ms="300") as response:
            received = [json.loads(line) async for line in response.aiter_lines()]
        assert [line.get("status") for line in received] == [504, 504, None]


# Bounds


@pytest.mark.parametrize("items", [[], [item(1)] * 1001], ids=["none", "1001"])
async def test_there_must_be_one_to_a_thousand(running: Gateway, items: list[object]) -> None:
    assert_problem(await running.client.post(PATH, json={"items": items}), 422, "invalid_request", "items")


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], {"items": "SNPS"}, {"items": [item(1)], "more": 1}, {"items": [item(1)], "detail": "long"}),
        *({"items": [item(1)], "concurrency": number} for number in (0, 1.5, "1")),
    ],
)
async def test_another_form_is_refused(running: Gateway, body: object) -> None:
    assert_problem(await running.client.post(PATH, json=body), 422, "invalid_request")


async def test_four_mebibytes_are_taken_and_not_more(running: Gateway) -> None:
    body = json.dumps({"items": [item(1)]}).encode()
    headers = {"Content-Type": "application/json"}
    for size, status in ((4 * 1024 * 1024, 200), (4 * 1024 * 1024 + 1, 413)):
        response = await running.client.post(PATH, content=body.ljust(size), headers=headers)
        assert response.status_code == status


# The reader


@pytest.mark.parametrize(("setting", "more"), [(3, {}), (3, {"concurrency": 100}), (16, {"concurrency": 3})])
async def test_no_more_are_asked_at_a_time_than_setting_and_request_say(
    setting: int, more: dict[str, int], own_store: str
) -> None:
    async with gateway(own_store, wire=True, batch_max_concurrency=setting) as running:
        running.mistral.go = asyncio.Event()
        pending = asyncio.create_task(lines(running, [item(number) for number in range(10)], **more))
        await running.mistral.began(3)
        await asyncio.sleep(0.1)
        assert running.asked == 3
        running.mistral.go.set()
        await pending
        assert running.asked == 10


async def test_a_disconnect_cancels_the_remaining_items(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    running.mistral.go = asyncio.Event()
    async with streaming(running, {"items": [item(number) for number in range(100)]}):
        await running.mistral.began(16)
    for stream in running.mistral.streams:
        await asyncio.wait_for(stream.left.wait(), 2)
    await asyncio.sleep(0.1)
    assert running.asked == 16
    await until(lambda: outcomes(running, "client_gone") == 16)
    assert running.sample("conviction_in_flight_requests", backend="mistral") == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_slow_reader_pauses_the_batch_and_its_disconnect_ends_it(own_store: str) -> None:
    long = canonical(FullAnswer(analysis="x" * 1400, action="buy", conviction=7))
    body = {"items": [item(n, detail="full", metrics=EXAMPLE.document()) for n in range(1000)]}
    async with gateway(own_store, wire=True) as running:
        running.mistral.script = [completion(long)] * 1000
        with await reading_nothing(running, body) as client:
            asked = await at_a_stand(running)
            assert 0 < asked < 1000
            client.close()
            await until(lambda: running.sample("conviction_in_flight_requests", backend="mistral") == 0)
            await asyncio.sleep(0.2)
            assert running.asked <= asked + 16


async def reading_nothing(running: Gateway, body: object) -> socket.socket:
    """A client with the smallest buffer there is, that has asked."""
    content = json.dumps(body).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n"
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.connect((running.client.base_url.host, running.client.base_url.port))
    client.setblocking(False)
    asked = head.encode() + b"Content-Type: application/json\r\n\r\n" + content
    await asyncio.get_running_loop().sock_sendall(client, asked)
    return client


async def at_a_stand(running: Gateway) -> int:
    """The calls there have been, once there are no more in a while."""
    asked = -1
    async with asyncio.timeout(60):
        while running.asked != asked or not asked:
            asked = running.asked
            await asyncio.sleep(1)
    return asked

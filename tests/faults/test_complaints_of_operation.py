"""Common faults of gateways, operation: memory, an unavailable store, metrics, keys in logs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from tests.conftest import STAND_IN_KEY
from tests.faults.conftest import Start
from tests.faults.running import Books, Replica, chat, question, stated, until
from tests.faults.upstream import Behavior, Upstream
from tests.valkey import Valkey

PATH = "/v1/recommendations"
GROWS = 4 << 20
"""Bytes per round of more than a thousand requests: a leak of a kilobyte per request exceeds it."""
AWAY_S = 5.0
"""The gateway detects an unavailable store in half a second; a busy machine may take longer."""


# 1. Memory


@pytest.mark.slow
async def test_memory_does_not_grow(replica: Replica, upstream: Upstream) -> None:
    """Make requests of each outcome: answered, streamed, refused, failed, or aborted by the client."""
    concurrency = asyncio.Semaphore(24)
    refused = list[int]()

    async def one(client: httpx.AsyncClient, number: int) -> None:
        mark = upstream.mark({7: Behavior("cut"), 8: Behavior("500")}.get(number % 40))
        async with concurrency:
            match number % 10:
                case 0:
                    await client.post(PATH, json=question(mark) | {"metrics": {}})
                case 1:
                    await client.post("/v1/chat/completions", json=chat(mark))
                case 2:
                    await client.post("/v1/chat/completions", json=chat(mark, stream=True))
                case 3:
                    await client.post(PATH, json=question(mark, stream=True))
                case 4:
                    upstream.behaviors[mark] = Behavior("timeout")
                    with suppress(httpx.TimeoutException):
                        await client.post(PATH, json=question(mark), timeout=0.2)
                        refused.append(number)  # by the breaker, which the failures may open
                case _:
                    await client.post(PATH, json=question(mark))

    async def resident_after(requests: int) -> int:
        async with replica.client() as client:
            await asyncio.gather(*(one(client, number) for number in range(requests)))
        await asyncio.sleep(0.5)
        return replica.resident()

    await resident_after(1200)
    before = await resident_after(300)
    assert await resident_after(3000) - before < GROWS
    assert len(refused) < 200, "hardly a client left"


# 6. An unavailable store


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_a_store_that_is_away_neither_hangs_requests_nor_lifts_limits(
    how: str, valkey: Valkey, start: Start, upstream: Upstream, books: Books
) -> None:
    """Budgets refuse, the cache is skipped, and the gateway is not ready, until the store answers again."""
    limited, free = start(CONVICTION_KEY_USD_PER_DAY="1"), start()
    async with limited.client() as budgeted, free.client() as unlimited:
        spent = [stated(await client.post(PATH, json=question("BEFORE"))) for client in (budgeted, unlimited)]
        assert spent[0] > spent[1] == 0
        valkey.kill() if how == "killed" else valkey.hang()
        for client, status in ((budgeted, 503), (unlimited, 200)):
            began = time.monotonic()
            answer = await client.post(PATH, json=question("BEFORE"))
            assert (answer.status_code, time.monotonic() - began < AWAY_S) == (status, True), answer.text
            if status == 503:
                assert answer.json()["code"] == "store_unavailable"
                assert int(answer.headers["Retry-After"]) >= 1
            else:
                assert answer.json()["source"] == "model"
            assert (await client.get("/health/live")).status_code == 200

            async def unready(client: httpx.AsyncClient = client) -> bool:
                return (await client.get("/health/ready")).json()["components"]["store"]["ready"] is False

            await until(unready)
        valkey.start() if how == "killed" else valkey.go_on()

        async def back() -> bool:
            return (await budgeted.get("/health/ready")).status_code == 200

        await until(back)
        await asyncio.sleep(0.5)
        assert (await budgeted.post(PATH, json=question("BEFORE"))).json()["source"] == "cache"
        spent.append(stated(await budgeted.post(PATH, json=question(upstream.mark()))))
        await books.closed()
        assert await books.budget("key:local") == {"used": sum(spent), "reserved": 0}


# 7. Metrics


async def series(client: httpx.AsyncClient) -> Counter[str]:
    """Return the number of series per metric."""
    page = (await client.get("/metrics")).text
    return Counter({family.name: len(family.samples) for family in families(page)})


async def test_nothing_that_clients_make_up_adds_a_series(replica: Replica) -> None:
    """Not for paths, models, backends, tickers or request ids."""

    async def pester(client: httpx.AsyncClient, word: str) -> None:
        for path in (f"/{word}", f"/v1/{word}.php", f"{PATH}/{word}", f"/v1/keys/{word}"):
            await client.get(path)
            await client.post(path, json={})
        await client.post(PATH, json=question("T"), headers={"X-Backend": word})
        await client.post(PATH, json=question("T") | {"detail": word})
        await client.post("/v1/chat/completions", json=chat("T", model=word))
        await client.post(PATH, json={"ticker": word[:10]}, headers={"X-Request-Id": word})
        await client.request(word.upper(), PATH)

    async with replica.client() as client:
        await pester(client, "first")
        before = await series(client)
        for _ in range(20):
            await pester(client, "x" + secrets.token_hex(6))
        assert await series(client) == before


async def test_each_gateway_counts_its_own_and_a_killed_one_leaves_no_gauge(
    start: Start, upstream: Upstream, valkey: Valkey
) -> None:
    """Each gateway is one process with its own metrics, without files that workers share."""
    replicas = start.two()

    async def value(replica: Replica, name: str) -> float:
        async with replica.client() as client:
            found = families((await client.get("/metrics")).text)
            return sum(
                each.value
                for family in found
                for each in family.samples
                if each.name == name and each.labels["backend"] == "mistral"
            )

    for place, replica in enumerate(replicas):
        async with replica.client() as client:
            for _ in range(3 + place):
                stated(await client.post(PATH, json=question(upstream.mark())))
    assert [await value(replica, "conviction_requests_total") for replica in replicas] == [3, 4]

    stalled = upstream.mark(Behavior("timeout"))
    async with replicas[0].client() as client:
        pending = asyncio.create_task(client.post(PATH, json=question(stalled)))
        await until(lambda: upstream.calls[stalled] == 1)
        assert await value(replicas[0], "conviction_in_flight_requests") == 1
        replicas[0].kill()
        with pytest.raises(httpx.TransportError):
            await pending
    replicas[0].start().wait()
    assert await value(replicas[0], "conviction_in_flight_requests") == 0
    assert await value(replicas[1], "conviction_requests_total") == 4


# 8. Keys in logs


async def test_no_key_is_ever_in_a_log(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    """Neither the admin's, a client's nor the backend's key, wherever it is sent and whatever upstream answers."""
    admin, wrong, misplaced = (f"{word}-{secrets.token_hex(16)}" for word in ("admin", "wrong", "misplaced"))
    keys = tmp_path / "keys"
    keys.write_text(f"ops:{admin}\n")
    keys.chmod(0o600)
    replica = start(CONVICTION_API_KEYS_FILE=str(keys))
    async with replica.client() as client:
        bearer = {"Authorization": f"Bearer {admin}"}
        issued = (await client.post("/v1/keys", json={"name": "ann"}, headers=bearer)).json()
        body, failing = question(upstream.mark()), question(upstream.mark(Behavior("500")))
        answers = [
            await client.post(PATH, json=body, headers={"X-API-Key": issued["key"]}),
            await client.post(PATH, json=failing, headers=bearer | {"X-Backend": "gpt-4"}),
            await client.post(PATH, json=body, headers={"X-API-Key": wrong}),
            await client.post(PATH, json=body, headers={"Authorization": f"Basic {wrong}"}),
            await client.post(f"{PATH}?api_key={misplaced}", json=body, headers=bearer),
            await client.post(PATH, json=body | {"api_key": misplaced}, headers=bearer),
            await client.delete(f"/v1/keys/{issued['key']}", headers=bearer),
        ]
    assert [answer.status_code for answer in answers] == [200, 502, 401, 401, 200, 422, 404]
    assert f"Bearer {STAND_IN_KEY}" in upstream.keys
    log = replica.log.read_text()
    assert '"path"' in log
    for secret in (admin, wrong, misplaced, issued["key"], issued["key"].split("_", 2)[2], STAND_IN_KEY):
        assert len(secret) > 10
        assert secret not in log
        assert all(secret not in answer.text for answer in answers)

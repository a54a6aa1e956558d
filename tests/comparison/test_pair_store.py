"""Stored pairs: their order, pages, spans and the number kept, with concurrent gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from app.comparison import pair_store as module
from app.comparison.choice import Choice
from app.comparison.pair_store import EXTRAS, PAIRS, Comparisons
from app.comparison.pairs import Pair, Side
from app.comparison.records import MAIN, RECORD, Sides, concatenate
from app.comparison.statistics.report import report
from app.comparison.versions import Version
from app.contract.completion import BACKEND_NAMES
from app.errors import StoreUnavailable
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined

SIDES = dict.fromkeys(BACKEND_NAMES, Side(action="buy", conviction=7))


def pair(ticker: str = "AAPL") -> Pair:
    return Pair(uuid4().hex, datetime.now(UTC), ticker, None, "brief", "comparison", SIDES)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)


@pytest.fixture
async def kept(store: Pipelined) -> AsyncIterator[Comparisons]:
    yield Comparisons(store, 10)


async def test_pages_go_from_the_newest_to_the_oldest(kept: Comparisons) -> None:
    stored = [await kept.append(pair()) for _ in range(9)]
    seen: list[Pair] = []
    before = None
    while True:
        page, before = await kept.page(before, 4)
        seen += page
        if before is None:
            break
        assert len(page) == 4
    assert seen == stored[::-1]


async def test_an_append_does_not_shift_the_next_page(kept: Comparisons) -> None:
    stored = [await kept.append(pair()) for _ in range(6)]
    _, before = await kept.page(None, 2)
    await kept.append(pair())
    assert (await kept.page(before, 2))[0] == stored[3:1:-1]


def by(model: str, prompt_version: str = "1", blind: bool = False) -> Pair:
    sides = {
        "mistral": replace(SIDES["mistral"], version=Version(model, prompt_version)),
        "gpt-4": Side(failure="backend_error"),
    }
    return replace(pair(), sides=sides, blind=blind)  # type: ignore[arg-type]


async def append_as_an_earlier_gateway(redis: Redis, earlier: Pair) -> Pair:
    """Append the record without the fields that earlier gateways do not know."""
    count, packed = int(await redis.hget(PAIRS, "count") or 0), earlier.pack()
    await redis.append(f"{PAIRS}:{count // module.CHUNK}", packed[:MAIN])
    last_ms = round(1000 * earlier.at.timestamp())
    await redis.hset(PAIRS, mapping={"count": count + 1, "last_ms": last_ms})
    return Pair.of(np.frombuffer(packed, RECORD)[0])


async def test_versions_and_blindness_are_stored(kept: Comparisons) -> None:
    given = [by("smollm2"), by("smollm2", "2", blind=True), by("ministral, 8b"), by("smollm2"), pair(), by("m" * 300)]
    stored = [await kept.append(each) for each in given]
    page, _ = await kept.page(None, 10)
    assert page[1:] == stored[-2::-1]
    assert page[0].sides["mistral"].version == Version("m" * 200, "1")
    assert list(await kept.versions()) == [
        *(None, Version("smollm2", "1"), Version("smollm2", "2")),
        *(Version("ministral, 8b", "1"), Version("m" * 200, "1")),
    ]


async def test_pairs_of_earlier_gateways_stay_readable_also_while_they_share_the_store(
    kept: Comparisons, redis: Redis
) -> None:
    stored = []
    for _ in range(3):
        stored.append(await append_as_an_earlier_gateway(redis, pair()))
        stored.append(await kept.append(by("smollm2", blind=True)))
    page, _ = await kept.page(None, 10)
    assert page == stored[::-1]
    assert [each.blind for each in page] == [True, None] * 3
    assert [each.sides["mistral"].version for each in page] == [Version("smollm2", "1"), None] * 3


async def test_the_oldest_are_dropped(kept: Comparisons, redis: Redis) -> None:
    stored = [await kept.append(pair()) for _ in range(37)]
    page, before = await kept.page(None, 100)
    assert page == stored[:-11:-1]
    assert before is None
    assert [Pair.of(record) for record in concatenate(await kept.span(None, None))] == stored[-10:]
    chunks = {key async for key in redis.scan_iter(f"{PAIRS}:*")}
    assert chunks == {f"{PAIRS}:{number}" for number in (6, 7, 8, 9)}
    extras = {key async for key in redis.scan_iter(f"{EXTRAS}:*")}
    assert extras == {f"{EXTRAS}:{number}" for number in (6, 7, 8, 9)}
    assert await kept.page(5, 10) == ([], None)  # a place whose pairs are gone


async def test_a_span_is_of_times(kept: Comparisons) -> None:
    stored = []
    for _ in range(9):
        stored.append(await kept.append(pair()))
        await asyncio.sleep(0.003)
    times = [round(1000 * each.at.timestamp()) for each in stored]

    async def span(start: int | None, end: int | None) -> list[Pair]:
        return [Pair.of(record) for record in concatenate(await kept.span(start, end))]

    assert await span(times[2], times[7]) == stored[2:7]
    assert await span(times[5], None) == stored[5:]
    assert await span(None, times[1]) == stored[:1]
    assert await span(times[8] + 1, None) == []
    assert await span(None, times[0]) == []


async def test_concurrent_appends_lose_nothing_and_keep_the_order(redis: Redis, store: Pipelined) -> None:
    many = [Comparisons(store, 1000) for _ in range(3)]
    stored = await asyncio.gather(*(each.append(pair()) for _ in range(40) for each in many))
    records = concatenate(await many[0].span(None, None))
    assert {Pair.of(record).id for record in records} == {each.id for each in stored}
    assert len(records) == 120
    assert list(records["time_ms"]) == sorted(records["time_ms"])


async def test_a_clock_set_back_keeps_the_order(kept: Comparisons, redis: Redis) -> None:
    await kept.append(pair())
    ahead = round(1000 * datetime.now(UTC).timestamp()) + 60_000
    await redis.hset(PAIRS, "last_ms", ahead)
    later = await kept.append(pair())
    assert round(1000 * later.at.timestamp()) == ahead


async def test_without_the_store_every_method_raises() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        away = Comparisons(Pipelined(redis), 10)
        for work in (away.append(pair()), away.page(None, 10), away.span(None, None)):
            with pytest.raises(StoreUnavailable):
                await work


async def test_pairs_of_other_sides_are_kept_apart(kept: Comparisons) -> None:
    sides: Sides = ("candidate", "mistral")
    answers = {name: replace(SIDES["mistral"], version=Version(name, "1")) for name in sides}
    stored = [await kept.append(replace(pair(), sides=answers)) for _ in range(6)]
    default = await kept.append(pair())
    assert (await kept.page(None, 10))[0] == [default]
    assert (await kept.of(sides).page(None, 10))[0] == stored[::-1]
    assert [tuple(each.sides) for each in stored] == [sides] * 6
    assert await kept.of(("candidate", "gpt-4")).page(None, 10) == ([], None)
    records = concatenate(await kept.of(sides).span(None, None), sides)
    found = report(records, Choice(), 0.02, await kept.versions())
    assert (tuple(found.backends), found.agreement and found.agreement.value) == (sides, 1.0)
    assert [each.model for each in found.versions["candidate"] if each.pairs] == ["candidate"]
    assert "means of mistral over means of candidate" in found.method

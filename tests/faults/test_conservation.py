"""Money is conserved: under random faults, each question is charged what upstream served for it."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.contract.completion import BACKEND_NAMES, BackendName
from app.pricing.prices import NANO, Price, list_price
from app.stand_in.prompt_parser import prompt_prefix
from app.stand_in.tokens import split
from tests.faults.conftest import Start
from tests.faults.delays import delaying
from tests.faults.drawn import Chaos, Question
from tests.faults.running import PRICE, Books, most, question, stated, until
from tests.faults.upstream import Upstream
from tests.valkey import Valkey

CALLERS = 6
QUESTIONS = 3000
"""More than can be asked in that time."""
GPT_4 = list_price("gpt-4.1")
PRICES: Mapping[BackendName, Price] = {"mistral": PRICE, "gpt-4": GPT_4}


@pytest.mark.parametrize("lasts_s", [25.0, pytest.param(60.0, marks=pytest.mark.slow)])
async def test_money_is_conserved_whatever_fails(
    start: Start, valkey: Valkey, upstream: Upstream, books: Books, tmp_path: Path, lasts_s: float
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FAULTS_SEED={seed} draws the same faults, though not at the same moments")
    keys = [secrets.token_hex(16) for _ in range(QUESTIONS)]
    (tmp_path / "keys").write_text("".join(f"{key}:{key}\n" for key in keys))
    (tmp_path / "keys").chmod(0o600)
    settings = {"CONVICTION_KEY_USD_PER_DAY": "1000", "CONVICTION_API_KEYS_FILE": str(tmp_path / "keys")}
    with delaying(tmp_path, Path(valkey.url.removeprefix("unix://")), random.Random(seed)) as (delays, url):
        replicas = start.two(REDIS_URL=url, **settings)
        chaos = Chaos(replicas, valkey, delays, upstream, random.Random(seed), keys, time.monotonic() + lasts_s)
        await asyncio.gather(chaos.kill_repeatedly(), *(chaos.caller() for _ in range(CALLERS)))
        marks = [asked.mark for asked in chaos.questions]
        await until(lambda: not any(upstream.served(name, *marks).open for name in BACKEND_NAMES))
        await delays.end()
        await books.closed()
        await check(chaos, books, least=0 if lasts_s < 60 else 1)
    assert delays.late > 0, delays.held


async def check(chaos: Chaos, books: Books, least: int) -> None:
    """Compare the ledger and budgets with what was served, and require that both gateways still answer.

    At least `least` requests are unconfirmed: a short run may have no gateway killed while it paid for a call.
    """
    upstream = chaos.upstream
    assert min(chaos.ended["ok"], chaos.ended["lost"]) > 0, chaos.ended
    charged = [await charge(upstream, books, asked) for asked in chaos.questions]
    ledger = await books.ledger()
    assert sum(charged) == ledger["nano_usd"] + ledger["unconfirmed_nano_usd"]
    assert least <= ledger["unconfirmed_requests"] <= chaos.ended["lost"]
    for name in BACKEND_NAMES:
        of_backend = await books.ledger(name)
        assert (await books.budget(f"backend:{name}"))["used"] == (
            of_backend["nano_usd"] + of_backend["unconfirmed_nano_usd"]
        )
    for replica in chaos.replicas:
        async with replica.client() as client:
            last = chaos.another()
            answer = await client.post(
                "/v1/recommendations", json=question(upstream.mark()), headers={"X-API-Key": last.key}
            )
            assert stated(answer) > 0


async def charge(upstream: Upstream, books: Books, asked: Question) -> int:
    """Return the question's charge in nano-dollars, and require that it is the price of what was served.

    After the kill of a gateway it may be the reservation, which is more. After a disconnect of the client, or of an
    upstream that reports no usage until the end, it is the price of what the gateway had received.
    """
    budget, (low, high) = await books.budget(f"key:file:{asked.key}"), worth(upstream, asked)
    used, calls = budget["used"], upstream.calls[asked.mark]
    reserved = most(asked.mark, asked.detail, PRICES[asked.backend])
    partly_received = asked.left or (asked.backend == "gpt-4" and asked.behavior.mode in ("cut", "garbled"))
    context = f"{asked}, charged {used}, served {low}, calls {calls}, reservation {reserved}"
    assert budget["reserved"] == 0, context
    assert asked.stated <= used <= asked.asked * reserved, context
    if partly_received:
        assert used > 0 or not low, context
    elif asked.lost:
        assert low <= used, context
    else:
        assert low <= used <= high, context
    return used


def worth(upstream: Upstream, asked: Question) -> tuple[int, int]:
    """Return the price in nano-dollars of what upstream served, and the same with each call rounded up."""
    served = upstream.served(asked.backend, asked.mark)
    if asked.backend == "mistral":
        garbled = min(upstream.calls[asked.mark], asked.behavior.times) if asked.behavior.mode == "garbled" else 0
        tokens = served.prompt_tokens + served.completion_tokens - garbled  # events without a token
        exact = tokens * PRICE.usd_per_hour * NANO / PRICE.tokens_per_hour
    else:
        cached = served.answered * len(split(prompt_prefix(asked.detail)))
        exact = 1000 * (
            (served.prompt_tokens - cached) * GPT_4.input
            + cached * GPT_4.cached_input
            + served.completion_tokens * GPT_4.output
        )
    return int(exact), int(exact) + (asked.asked if exact % 1 else 0)

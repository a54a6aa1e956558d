"""Money is conserved: whatever faults are drawn, each question is charged what upstream served for it."""

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
from tests.faults.drawn import Question, World
from tests.faults.running import PRICE, Books, most, question, stated, until
from tests.faults.upstream import Upstream
from tests.valkey import Valkey

CALLERS = 6
QUESTIONS = 8000
"""More than can be asked meanwhile."""
GPT_4 = list_price("gpt-4.1")
PRICES: Mapping[BackendName, Price] = {"mistral": PRICE, "gpt-4": GPT_4}


@pytest.mark.parametrize("lasts_s", [6.0, pytest.param(60.0, marks=pytest.mark.slow)])
async def test_money_is_conserved_whatever_fails(
    start: Start, valkey: Valkey, upstream: Upstream, books: Books, tmp_path: Path, lasts_s: float
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FAULTS_SEED={seed} draws the same faults, though not at the same moments")
    keys = [secrets.token_hex(16) for _ in range(QUESTIONS)]
    (tmp_path / "keys").write_text("".join(f"{key}:{key}\n" for key in keys))
    (tmp_path / "keys").chmod(0o600)
    replicas = start.two(CONVICTION_KEY_USD_PER_DAY="1000", CONVICTION_API_KEYS_FILE=str(tmp_path / "keys"))
    world = World(replicas, valkey, upstream, random.Random(seed), keys, time.monotonic() + lasts_s)
    await asyncio.gather(world.chaos(), *(world.caller() for _ in range(CALLERS)))
    marks = [asked.mark for asked in world.questions]
    await until(lambda: not any(upstream.served(name, *marks).open for name in BACKEND_NAMES))
    await books.closed()

    assert min(world.ended["ok"], world.ended["lost"]) > 0, world.ended
    charged = [await charge(upstream, books, asked) for asked in world.questions]
    ledger = await books.ledger()
    assert sum(charged) == ledger["nano_usd"] + ledger["unconfirmed_nano_usd"]
    assert 1 <= ledger["unconfirmed_requests"] <= world.ended["lost"]
    for name in BACKEND_NAMES:
        of_backend = await books.ledger(name)
        assert (await books.budget(f"backend:{name}"))["used"] == (
            of_backend["nano_usd"] + of_backend["unconfirmed_nano_usd"]
        )
    for replica in replicas:
        async with replica.client() as client:
            last = world.another()
            answer = await client.post(
                "/v1/recommendations", json=question(upstream.mark()), headers={"X-API-Key": last.key}
            )
            assert stated(answer) > 0


async def charge(upstream: Upstream, books: Books, asked: Question) -> int:
    """What the question was charged, in nano-dollars, which must be what was served for it.

    Where a gateway was killed it may be the reservation, which is more; and where a client left, or where upstream
    broke off and does not tell, it is what had been heard.
    """
    budget, (low, high) = await books.budget(f"key:file:{asked.key}"), worth(upstream, asked)
    used, calls = budget["used"], upstream.calls[asked.mark]
    reserved = most(asked.mark, asked.detail, PRICES[asked.backend])
    unheard = asked.left or (asked.backend == "gpt-4" and asked.doing.mode in ("cut", "garbled"))
    told = f"{asked}, charged {used}, served {low}, calls {calls}, reservation {reserved}"
    assert budget["reserved"] == 0, told
    assert asked.stated <= used <= asked.asked * reserved, told
    if unheard:
        assert used > 0 or not low, told
    elif asked.lost:
        assert low <= used, told
    else:
        assert low <= used <= high, told
    return used


def worth(upstream: Upstream, asked: Question) -> tuple[int, int]:
    """What upstream served for a question, at its price in nano-dollars, and that with every call rounded up."""
    served = upstream.served(asked.backend, asked.mark)
    if asked.backend == "mistral":
        garbled = min(upstream.calls[asked.mark], asked.doing.times) if asked.doing.mode == "garbled" else 0
        tokens = served.prompt_tokens + served.completion_tokens - garbled  # events that hold no token
        exact = tokens * PRICE.usd_per_hour * NANO / PRICE.tokens_per_hour
    else:
        cached = served.answered * len(split(prompt_prefix(asked.detail)))
        exact = 1000 * (
            (served.prompt_tokens - cached) * GPT_4.input
            + cached * GPT_4.cached_input
            + served.completion_tokens * GPT_4.output
        )
    return int(exact), int(exact) + (asked.asked if exact % 1 else 0)

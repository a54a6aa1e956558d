"""Checks that several gateways share limits, budgets, in-flight calls and experiment arms."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx

from app.contract.prompt import Detail
from deploy.loadtest.books import closed, most, sums
from deploy.loadtest.load import NUMBERS, PATH, nano_usd, question
from deploy.loadtest.stack import GATEWAYS, Stack

PER_MINUTE = 10
CALLS_IN_BUDGET = 6
"""Calls that fit into the budget, at a brief answer's largest reservation."""
SUBJECTS = 60


@dataclass(frozen=True)
class Finding:
    """The result of a check, with a one-line summary."""

    name: str
    held: bool
    summary: str


async def limits(stack: Stack) -> Finding:
    """Check a key's requests a minute: of a burst, exactly the limit passes, plus what drains meanwhile."""
    asked, number = 12 * PER_MINUTE, next(NUMBERS)
    key, _ = await issued(stack, requests_per_minute=PER_MINUTE)
    began = monotonic()
    answers = await asyncio.gather(*(ask(stack, stack.url, key, question(number=number)) for _ in range(asked)))
    took = monotonic() - began
    through = Counter(answer.status_code for answer in answers)
    drained = int(took * PER_MINUTE / 60)
    held = through.keys() == {200, 429} and PER_MINUTE <= through[200] <= PER_MINUTE + drained
    also = f", at most {drained} of them by drained capacity" if drained else ""
    return Finding(
        "limits",
        held and spread(answers) == GATEWAYS,
        f"of {PER_MINUTE} requests a minute, {through[200]} of {asked} concurrent ones passed{also}, {through[429]}"
        f" refused, by {spread(answers)} gateways in {took:.1f} s",
    )


async def budgets(stack: Stack) -> Finding:
    """Check a key's USD a day: charges plus reservations never exceed it, and it is used until no call fits."""
    cap = CALLS_IN_BUDGET * most("brief")
    key, identity = await issued(stack, usd_per_day=f"{cap / 1e9:.9f}")
    stated, highest, answered, refused, last = 0, 0, 0, 0, False
    while not last:
        pending = [asyncio.create_task(ask(stack, stack.url, key, question())) for _ in range(4 * CALLS_IN_BUDGET)]
        while not all(task.done() for task in pending):
            day = await sums(stack.redis, f"budget:key:{identity}")
            highest = max(highest, day["used"] + day["reserved"])
            await asyncio.sleep(0.005)
        through = [task.result() for task in pending]
        if not {answer.status_code for answer in through} <= {200, 429}:
            return Finding("budgets", False, f"answered with {Counter(answer.status_code for answer in through)}")
        good = [answer.json() for answer in through if answer.status_code == 200]
        stated += sum(map(nano_usd, good))
        answered, refused, last = answered + len(good), refused + len(through) - len(good), not good
    await closed(stack.redis)
    day = await sums(stack.redis, f"budget:key:{identity}")
    full = cap - day["used"] < most("brief")
    return Finding(
        "budgets",
        stated == day["used"] <= cap and highest <= cap and full,
        f"of {cap / 1e9:.6f} USD a day, {day['used'] / 1e9:.6f} charged, as {answered} answers say; at most"
        f" {highest / 1e9:.6f} charged and reserved at any time; {refused} refused",
    )


async def single_flight(stack: Stack) -> Finding:
    """Check that concurrent identical requests on every gateway make one call."""
    detail: Detail = "brief" if stack.real else "full"
    number, each = next(NUMBERS), 10
    before = sum([await stack.calls(server) for server in stack.servers])
    key = stack.keys.by_name["admin"]
    answers = await asyncio.gather(
        *(ask(stack, url, key, question(detail, number=number)) for url in stack.replicas for _ in range(each))
    )
    calls = sum([await stack.calls(server) for server in stack.servers]) - before
    sources = Counter(answer.json().get("source", answer.status_code) for answer in answers)
    texts = {answer.json().get("analysis") or answer.json().get("action") for answer in answers}
    paid = sum(nano_usd(answer.json()) for answer in answers if answer.json().get("source") == "model")
    held = calls == sources["model"] == len(texts) == 1 and sources["coalesced"] + sources["cache"] == len(answers) - 1
    counts = ", ".join(f"{count} {source}" for source, count in sources.most_common())
    return Finding(
        "single-flight",
        held and paid > 0,
        f"{len(answers)} identical requests on {GATEWAYS} gateways: {calls} upstream call ({counts})",
    )


async def experiments(stack: Stack) -> Finding:
    """Check that every subject gets the same arm from every gateway, and that both arms are used."""
    key, arms = stack.keys.by_name["admin"], {}
    number = next(NUMBERS)

    async def arm(url: str, subject: str) -> str:
        answer = await ask(stack, url, key, question(number=number), {"X-Subject": subject}, backend=None)
        return f"{answer.json()['experiment']['arm']}:{answer.headers['x-backend']}"

    for subject in (f"subject-{place}" for place in range(SUBJECTS)):
        arms[subject] = set(await asyncio.gather(*(arm(url, subject) for url in stack.replicas)))
    split = sum((Counter(each) for each in arms.values()), Counter[str]())
    counts = ", ".join(f"{count} {name.partition(':')[0]}" for name, count in split.most_common())
    return Finding(
        "experiments",
        all(len(each) == 1 for each in arms.values()) and len(split) == 2,
        f"{SUBJECTS} subjects, each of one arm on all {GATEWAYS} gateways ({counts})",
    )


def spread(answers: list[httpx.Response]) -> int:
    """Return the number of gateways that answered."""
    return len({answer.headers.get("x-served-by") for answer in answers})


async def issued(stack: Stack, **limits: Any) -> tuple[str, str]:
    """Create a key with limits; return the key and its id."""
    headers = {"Authorization": f"Bearer {stack.keys.by_name['admin']}"}
    body = {"name": "proof", "backends": ["mistral"], **limits}
    response = await stack.client.post(f"{stack.url}/v1/keys", json=body, headers=headers)
    document = response.raise_for_status().json()
    return document["key"], document["record"]["id"]


async def ask(
    stack: Stack,
    url: str,
    key: str,
    body: Mapping[str, Any],
    more: Mapping[str, str] | None = None,
    backend: str | None = "mistral",
) -> httpx.Response:
    named = {} if backend is None else {"X-Backend": backend}
    headers = {"Authorization": f"Bearer {key}", **named, **(more or {})}
    return await stack.client.post(f"{url}{PATH}", json=body, headers=headers)

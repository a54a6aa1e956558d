"""Many callers in a separate process: `python -m tests.stores.callers URL ORDER`, the order and the result in JSON.

Each caller reserves 1,000 nano-dollars of one budget. Then it settles at most that, releases it, dies after it sent the
call, or dies before.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass

from pydantic import SecretStr

from app.accounting.admission import Admissions
from app.contract.completion import Usage
from app.errors import BudgetExceeded
from app.pricing.limits import Estimate, Limits, Scope
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined

NANO_USD = 1000
LEASE_S = 2.0
CONNECTIONS = 3
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Order:
    """The number and name of concurrent callers, their budget, and the error of this process' clock."""

    name: str
    callers: int
    budget: int
    clock_off_s: float = 0.0

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return (Scope("key:shared", Limits(nano_usd_per_day=self.budget)), Scope("backend:gpt-4", Limits()))


@dataclass
class Outcomes:
    """The outcomes of the callers."""

    refused: int = 0
    paid: int = 0
    nano_usd: int = 0
    released: int = 0
    unconfirmed: int = 0
    gone: int = 0


async def call(admissions: Admissions, order: Order, number: int, chance: random.Random, outcomes: Outcomes) -> None:
    """Run one caller."""
    name = f"{order.name}-{number}"
    outcome = chance.choices(("paid", "released", "unconfirmed", "gone"), (6, 1, 1, 1))[0]
    sent = outcome in ("paid", "unconfirmed")
    try:
        await admissions.admit(name, order.scopes, "gpt-4", Estimate(10, NANO_USD), lease_s=LEASE_S, sent=sent)
    except BudgetExceeded:
        outcomes.refused += 1
        return
    if outcome == "released":
        await admissions.release(name)
    if outcome == "paid":
        cost = chance.randrange(NANO_USD + 1)
        await admissions.settle(name, Usage(cost, 0), cost)
        outcomes.nano_usd += cost
    setattr(outcomes, outcome, getattr(outcomes, outcome) + 1)


async def main(url: str, order: Order) -> Outcomes:
    outcomes, chance = Outcomes(), random.Random(order.name)
    clock = time.time
    time.time = lambda: clock() + order.clock_off_s
    async with open_redis(SecretStr(url)) as redis:
        stores = [Pipelined(redis, TIMEOUT_S) for _ in range(CONNECTIONS)]
        gateways = [Admissions(store) for store in stores]
        callers = (call(gateways[n % CONNECTIONS], order, n, chance, outcomes) for n in range(order.callers))
        await asyncio.gather(*callers)
        for store in stores:
            await store.close()
    return outcomes


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(main(sys.argv[1], Order(**json.loads(sys.argv[2])))))))

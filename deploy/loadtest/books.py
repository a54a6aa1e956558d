"""Comparison of the money in the store with the costs in answers, in nano-dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from redis.asyncio import Redis

from app.backends.upstream import TEMPLATE_TOKENS
from app.completions.retry import MAX_ATTEMPTS
from app.contract.completion import Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import ANSWER_TOKENS
from app.pricing.prices import NANO
from deploy.loadtest import model_server
from deploy.loadtest.load import Payer
from deploy.loadtest.parts import until
from deploy.loadtest.settings import PRICE
from deploy.loadtest.stack import Stack

LEDGER = "ledger:mistral"
ON_ITS_WAY = 25
"""Tokens that a server may have sent and the gateway not read when a client disconnects."""
SLACK = 8
"""Bytes by which prompts differ at most."""


def most(detail: Detail = "full") -> int:
    """Return the most that any request of the load reserves."""
    prompt = sum(len(message["content"].encode()) for message in messages(EXAMPLE, "SNPS", detail)) + TEMPLATE_TOKENS
    return PRICE.cost(Usage(MAX_ATTEMPTS * (prompt + SLACK), MAX_ATTEMPTS * ANSWER_TOKENS[detail])).nano_usd


async def sums(redis: Redis, kind: str) -> Counter[str]:
    """Sum hashes over all days: `ledger:mistral` (nano_usd, unconfirmed_…), `budget:key:…` (used, reserved)."""
    added: Counter[str] = Counter()
    for key in await redis.keys(f"conviction:{kind}:*"):
        added.update({str(name): int(value) for name, value in (await redis.hgetall(key)).items()})
    return added


async def closed(redis: Redis) -> None:
    """Wait until nothing is reserved. Reservations of a dead gateway expire after 15 s. Raises `ScaleError`."""

    async def none_open() -> bool:
        return not await redis.zcard("conviction:leases")

    await until(none_open, "the store's reservations end")


@dataclass(frozen=True)
class Money:
    """Whether the sums agree, and a one-line summary."""

    right: bool
    summary: str


@dataclass(frozen=True)
class Books:
    """The store's sums before a load, to compare with those after it."""

    stack: Stack
    ledger: Counter[str]
    charged: Counter[str]
    """Nano-dollars by the payer's name."""
    served: tuple[int, ...]

    @classmethod
    async def open(cls, stack: Stack, payers: Sequence[Payer]) -> Self:
        ledger, charged = await sums(stack.redis, LEDGER), await _charged(stack.redis, payers)
        return cls(stack, ledger, charged, await _served(stack))

    async def close(self, payers: Sequence[Payer]) -> Money:
        """Compare the sums.

        Each payer must be charged the costs in its answers, plus at most the reservation of each request without an
        answer. The ledger with unconfirmed calls must equal all charges and cover the tokens that stand-ins served.
        """
        await closed(self.stack.redis)
        ledger, charged = await sums(self.stack.redis, LEDGER), await _charged(self.stack.redis, payers)
        ledger.subtract(self.ledger)
        charged.subtract(self.charged)
        right = all(p.stated <= charged[p.name] <= p.stated + p.unanswered * most() for p in payers)
        confirmed, unconfirmed = ledger["nano_usd"], ledger["unconfirmed_nano_usd"]
        stated, unanswered = sum(p.stated for p in payers), sum(p.unanswered for p in payers)
        right = right and confirmed + unconfirmed == charged.total() and stated <= confirmed
        # A killed stand-in counts from 0 again.
        each = zip(await _served(self.stack), self.served, strict=True)
        served = sum(now - before if now >= before else now for now, before in each)
        right = right and PRICE.cost(Usage(served - ON_ITS_WAY * unanswered, 0)).nano_usd <= confirmed + unconfirmed
        apart = f", {_usd(confirmed - stated)} of requests without an answer" if confirmed != stated else ""
        apart += f", unconfirmed {_usd(unconfirmed)} ({ledger['unconfirmed_requests']} calls)" if unconfirmed else ""
        summary = f"ledger {_usd(confirmed)} = answers {_usd(stated)}{apart}"
        return Money(right and (unanswered > 0 or confirmed == stated), summary if right else f"WRONG MONEY: {summary}")


async def _served(stack: Stack) -> tuple[int, ...]:
    """Return the tokens served by each stand-in; zeros for vLLM."""
    if stack.real:
        return tuple(0 for _ in stack.servers)
    return tuple([await model_server.tokens(stack.client, server) for server in stack.servers])


async def _charged(redis: Redis, payers: Sequence[Payer]) -> Counter[str]:
    charged: Counter[str] = Counter()
    for payer in payers:
        charged[payer.name] = (await sums(redis, f"budget:key:file:{payer.name}"))["used"]
    return charged


def _usd(nano: int) -> str:
    return f"{nano / NANO:.6f} USD"

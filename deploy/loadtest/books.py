"""What the store holds of money, in nano-dollars, held against what answers said."""

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
"""Tokens that may have been sent, and not been read when a client left."""
SLACK = 8
"""Bytes by which prompts differ."""


def most(detail: Detail = "full") -> int:
    """No question of the load reserves more, whatever its number."""
    prompt = sum(len(message["content"].encode()) for message in messages(EXAMPLE, "SNPS", detail)) + TEMPLATE_TOKENS
    return PRICE.cost(Usage(MAX_ATTEMPTS * (prompt + SLACK), MAX_ATTEMPTS * ANSWER_TOKENS[detail])).nano_usd


async def sums(redis: Redis, kind: str) -> Counter[str]:
    """Of every day: `ledger:mistral` (nano_usd, unconfirmed_nano_usd …), `budget:key:…` (used, reserved)."""
    added: Counter[str] = Counter()
    for key in await redis.keys(f"conviction:{kind}:*"):
        added.update({str(name): int(value) for name, value in (await redis.hgetall(key)).items()})
    return added


async def closed(redis: Redis) -> None:
    """Return once nothing is reserved: what the dead held is unconfirmed 15 s after they died. Raises `ScaleError`."""

    async def none_open() -> bool:
        return not await redis.zcard("conviction:leases")

    await until(none_open, "the store's reservations end")


@dataclass(frozen=True)
class Money:
    """Whether it is as it should be, and how it is."""

    right: bool
    summary: str


@dataclass(frozen=True)
class Books:
    """Opened before a load, closed after it."""

    stack: Stack
    ledger: Counter[str]
    charged: Counter[str]
    """By payer's name."""
    served: tuple[int, ...]

    @classmethod
    async def open(cls, stack: Stack, payers: Sequence[Payer]) -> Self:
        ledger, charged = await sums(stack.redis, LEDGER), await _charged(stack.redis, payers)
        return cls(stack, ledger, charged, await _served(stack))

    async def close(self, payers: Sequence[Payer]) -> Money:
        """Each payer was charged what its answers said and, of requests without an answer, what they may have taken;
        and the ledger, unconfirmed calls among it, is the sum of all charges and no less than stand-ins served."""
        await closed(self.stack.redis)
        ledger, charged = await sums(self.stack.redis, LEDGER), await _charged(self.stack.redis, payers)
        ledger.subtract(self.ledger)
        charged.subtract(self.charged)
        right = all(p.stated <= charged[p.name] <= p.stated + p.unheard * most() for p in payers)
        confirmed, unconfirmed = ledger["nano_usd"], ledger["unconfirmed_nano_usd"]
        stated, unheard = sum(p.stated for p in payers), sum(p.unheard for p in payers)
        right = right and confirmed + unconfirmed == charged.total() and stated <= confirmed
        # A stand-in that was killed has counted from 0 since.
        each = zip(await _served(self.stack), self.served, strict=True)
        served = sum(now - before if now >= before else now for now, before in each)
        right = right and PRICE.cost(Usage(served - ON_ITS_WAY * unheard, 0)).nano_usd <= confirmed + unconfirmed
        apart = f", {_usd(confirmed - stated)} of requests without an answer" if confirmed != stated else ""
        apart += f", unconfirmed {_usd(unconfirmed)} ({ledger['unconfirmed_requests']} calls)" if unconfirmed else ""
        summary = f"ledger {_usd(confirmed)} = answers {_usd(stated)}{apart}"
        return Money(right and (unheard > 0 or confirmed == stated), summary if right else f"WRONG MONEY: {summary}")


async def _served(stack: Stack) -> tuple[int, ...]:
    """Tokens by model server; vLLM is not asked."""
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

"""Where scopes stand: what is left of each limit and when it is whole again, as the store told in passing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from app.pricing.limits import Scope

Reason = Literal["requests", "tokens", "budget"]

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """One limit of one scope: units of its reason (requests, tokens, nano-dollars) in so many seconds."""

    scope: str
    reason: Reason
    limit: int
    seconds: int
    remaining: int
    reset_s: int
    """Seconds until all of the limit is to be had again."""

    @property
    def policy(self) -> str:
        """Its name for clients, which tells the kind of scope and no more."""
        return f"{kind(self.scope)}-{self.reason}"


class LimitStatus:
    """What was so at one moment of the store's clock; worked out only where it is asked for."""

    __slots__ = ("_numbers", "_scopes", "_text")

    def __init__(self, scopes: tuple[Scope, ...], text: bytes) -> None:
        self._scopes = scopes
        self._text = text
        self._numbers: list[int] = []

    @property
    def at_us(self) -> int:
        """The moment, in microseconds since 1970."""
        return self._read()[0]

    def windows(self) -> Iterator[Window]:
        """The limits there are."""
        numbers = self._read()
        day_left_s = ceil((DAY_US - numbers[0] % DAY_US) / 1e6)
        for place, scope in enumerate(self._scopes):
            requests, tokens, used, reserved = numbers[4 * place + 1 : 4 * place + 5]
            limits = scope.limits
            if limits.requests_per_minute is not None:
                yield _per_minute(scope, "requests", limits.requests_per_minute, requests)
            if limits.tokens_per_minute is not None:
                yield _per_minute(scope, "tokens", limits.tokens_per_minute, tokens)
            cap = limits.nano_usd_per_day
            if cap is not None:
                yield Window(scope.name, "budget", cap, 86400, max(0, cap - used - reserved), day_left_s)

    def used_nano_usd(self, name: str) -> int:
        """What has been charged to a scope today, unconfirmed calls among it and calls under way not."""
        for place, scope in enumerate(self._scopes):
            if scope.name == name:
                return self._read()[4 * place + 3]
        raise KeyError(name)

    def headers(self) -> Mapping[str, str]:
        """The limits as `RateLimit-Policy` and `RateLimit` fields; none where there is no limit."""
        windows = list(self.windows())
        if not windows:
            return {}
        return {
            "RateLimit-Policy": ", ".join(f'"{w.policy}";q={w.limit};w={w.seconds}' for w in windows),
            "RateLimit": ", ".join(f'"{w.policy}";r={w.remaining};t={w.reset_s}' for w in windows),
        }

    def _read(self) -> list[int]:
        if not self._numbers:
            self._numbers = [int(number) for number in self._text.split()]
        return self._numbers


def kind(scope: str) -> str:
    """`key` or `backend`."""
    return scope.partition(":")[0]


def _per_minute(scope: Scope, reason: Reason, limit: int, level: int) -> Window:
    """A limit a minute from its bucket's level, in microseconds x units."""
    remaining = max(0, limit - ceil(level / MINUTE_US))
    return Window(scope.name, reason, limit, 60, remaining, ceil(level / limit / 1e6) if limit else 60)

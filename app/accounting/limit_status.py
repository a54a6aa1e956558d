"""The status of limits: what is left of each and when it resets, as the store returned it with an admission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Literal, NamedTuple

from app.pricing.limits import Scope

Reason = Literal["requests", "tokens", "budget"]

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000


class Window(NamedTuple):
    """One limit of one scope: requests, tokens or nano-dollars in `seconds` seconds."""

    scope: str
    reason: Reason
    limit: int
    seconds: int
    remaining: int
    reset_s: int
    """Seconds until the whole limit is available."""

    @property
    def policy(self) -> str:
        """Its name in headers, which reveals only the kind of scope."""
        return f"{kind(self.scope)}-{self.reason}"


class LimitStatus:
    """The limits of scopes at one time of the store's clock; parsed at first use."""

    __slots__ = ("_numbers", "_scopes", "_text")

    def __init__(self, scopes: tuple[Scope, ...], text: bytes) -> None:
        self._scopes = scopes
        self._text = text
        self._numbers: list[int] = []

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return self._scopes

    @property
    def at_us(self) -> int:
        """The time, in microseconds since 1970."""
        return self._read()[0]

    def windows(self) -> Iterator[Window]:
        """Yield the limits that are set."""
        numbers = self._read()
        day_left_s = ceil((DAY_US - numbers[0] % DAY_US) / 1e6)
        for index, scope in enumerate(self._scopes):
            requests, tokens, used, reserved = numbers[4 * index + 1 : 4 * index + 5]
            limits = scope.limits
            if limits.requests_per_minute is not None:
                yield _per_minute(scope, "requests", limits.requests_per_minute, requests)
            if limits.tokens_per_minute is not None:
                yield _per_minute(scope, "tokens", limits.tokens_per_minute, tokens)
            cap = limits.nano_usd_per_day
            if cap is not None:
                yield Window(scope.name, "budget", cap, 86400, max(0, cap - used - reserved), day_left_s)

    def used_nano_usd(self, name: str) -> int:
        """Return what a scope was charged today, with unconfirmed calls and without calls in flight."""
        for index, scope in enumerate(self._scopes):
            if scope.name == name:
                return self._read()[4 * index + 3]
        raise KeyError(name)

    def headers(self) -> Mapping[str, str]:
        """Return the `RateLimit-Policy` and `RateLimit` fields; none if no limit is set."""
        windows = [(window.policy, window) for window in self.windows()]
        if not windows:
            return {}
        return {
            "RateLimit-Policy": ", ".join([f'"{policy}";q={w.limit};w={w.seconds}' for policy, w in windows]),
            "RateLimit": ", ".join([f'"{policy}";r={w.remaining};t={w.reset_s}' for policy, w in windows]),
        }

    def _read(self) -> list[int]:
        if not self._numbers:
            self._numbers = [int(number) for number in self._text.split()]
        return self._numbers


def kind(scope: str) -> str:
    """Return `key` or `backend`."""
    return scope.partition(":")[0]


def _per_minute(scope: Scope, reason: Reason, limit: int, level: int) -> Window:
    """Return a limit a minute from its bucket's level, in microseconds x units."""
    remaining = max(0, limit - ceil(level / MINUTE_US))
    return Window(scope.name, reason, limit, 60, remaining, ceil(level / limit / 1e6) if limit else 60)

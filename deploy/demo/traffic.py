"""Mixed traffic: requests of all kinds, a few concurrently, for a given time."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from time import monotonic
from typing import Any

import httpx

from app.contract.fingerprint import EXAMPLE

AT_ONCE = 4
PAUSE_S = 0.2
TICKERS, YOUNG = ("AAPL", "GOOG", "IBM", "MSFT"), "FB"
"""Tickers of the sample market; one has too few bars for indicators."""
LAST_DAY, DAYS = date(2013, 3, 1), 500
"""The sample market's last day, and the number of days that requests go back."""

Json = dict[str, Any]


def of_ticker(number: int, detail: str = "brief") -> Json:
    """A request for which the gateway looks up the metrics."""
    day = LAST_DAY - timedelta(days=number // len(TICKERS) % DAYS)
    return {"ticker": TICKERS[number % len(TICKERS)], "as_of": day.isoformat(), "detail": detail}


def by_metrics(number: int, detail: str = "brief") -> Json:
    """A request that includes the metrics."""
    return {"ticker": "SNPS", "metrics": EXAMPLE.document() | {"price": 500 + number / 10}, "detail": detail}


def batch(number: int) -> Json:
    return {"detail": "brief", "items": [of_ticker(7 * number + place) | {"detail": "brief"} for place in range(4)]}


@dataclass(frozen=True)
class Kind:
    """A kind of request, and its expected status."""

    name: str
    body: Callable[[int], Json]
    backend: str | None = None
    path: str = "/v1/recommendations"
    status: int = 200

    def headers(self, number: int) -> Mapping[str, str]:
        return {"X-Subject": f"client-{number}", **({} if self.backend is None else {"X-Backend": self.backend})}


def to_both(name: str, body: Callable[[int], Json], **more: Any) -> tuple[Kind, ...]:
    return tuple(Kind(name, body, backend, **more) for backend in ("mistral", "gpt-4"))


KINDS: tuple[Kind, ...] = (
    *to_both("brief", of_ticker),
    *to_both("full", lambda number: by_metrics(number, "full")),
    *to_both("streams", lambda number: of_ticker(number, "full") | {"stream": True}),
    *to_both("asked before", lambda _: by_metrics(0)),
    *to_both("batches", batch, path="/v1/recommendations/batch"),
    *(Kind("comparisons", of_ticker, path="/v1/comparisons") for _ in range(3)),
    Kind("comparisons", lambda number: by_metrics(number, "full"), path="/v1/comparisons"),
    Kind("cascades", of_ticker, "cascade"),
    Kind("by experiment", by_metrics),
    Kind("by experiment", of_ticker),
    *to_both("refused", lambda _: {"ticker": "SNPS", "metrics": {"price": -1}}, status=422),
    Kind("refused", lambda _: {"ticker": "NONE"}, status=404),
    Kind("refused", lambda _: {"ticker": YOUNG}, status=422),
)


@dataclass
class Traffic:
    """The number of requests by kind, and the unexpected answers."""

    client: httpx.AsyncClient
    asked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    async def drive(self, seconds: float) -> None:
        """Send requests until the time is over, every kind at least once."""
        ends, numbers = monotonic() + seconds, count()
        async with asyncio.TaskGroup() as clients:
            for _ in range(AT_ONCE):
                clients.create_task(self._ask_on(numbers, ends))

    async def _ask_on(self, numbers: count[int], ends: float) -> None:
        while (number := next(numbers)) < len(KINDS) or monotonic() < ends:
            await self._ask(KINDS[number % len(KINDS)], number)
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, kind: Kind, number: int) -> None:
        """Send a request and read the answer, including a stream or a batch, to its end."""
        response = await self.client.post(kind.path, json=kind.body(number), headers=kind.headers(number))
        self.asked[kind.name] += 1
        if response.status_code != kind.status:
            self.wrong[f"{kind.name}: {response.status_code} {response.text[:200]}"] += 1
        elif response.is_success:
            self.wrong.update(f"{kind.name}: {each['code']} {each['detail']}" for each in problems(response.text))


def problems(text: str) -> Iterator[Json]:
    """Yield the problems within a successful answer: a stream's, those of a batch, or of a comparison's sides."""
    if text.startswith("event: "):
        yield from map(json.loads, re.findall(r"^event: error\ndata: (.*)$", text, re.MULTILINE))
        return
    for document in map(json.loads, text.splitlines()):
        for part in (document, *document.get("sides", {}).values()):
            if part.get("problem"):
                yield part["problem"]

"""A receiver of notices over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.conftest import served

TOKEN = "hush-0123456789abcdef"
"""The secret part of the receiver's address."""


@dataclass
class Receiver:
    """Records what it accepts; answers with the next of its statuses, or 204, after a delay."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    delay_s: float = 0.0
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    refused: int = 0

    @property
    def notices(self) -> list[dict[str, Any]]:
        """The accepted documents, in their order."""
        return [json.loads(body) for _, body in self.requests]

    def thresholds(self, **fields: str) -> list[int]:
        """Return the thresholds of the notices with these fields."""
        return [each["threshold_percent"] for each in self.notices if fields.items() <= each.items()]

    async def until(self, count: int) -> None:
        """Wait until it has accepted `count` requests."""
        async with asyncio.timeout(20):
            while len(self.requests) < count:  # noqa: ASYNC110 - it runs in another thread
                await asyncio.sleep(0.01)

    async def receive(self, request: Request) -> Response:
        body = await request.body()
        await asyncio.sleep(self.delay_s)
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            self.requests.append((request.headers, body))
        else:
            self.refused += 1
        return Response(status_code=status, headers={"location": "/elsewhere"} if 300 <= status < 400 else None)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Serve a receiver whose address ends in the token."""
    receiver = Receiver()
    app = Starlette(
        routes=[Route(path, receiver.receive, methods=["GET", "POST"]) for path in (f"/{TOKEN}", "/elsewhere")]
    )
    with served(app) as origin:
        receiver.url = f"{origin}/{TOKEN}"
        yield receiver

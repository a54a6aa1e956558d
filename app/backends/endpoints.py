"""The servers behind one backend, and which of them to ask next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from urllib.parse import urlsplit

from openai import AsyncOpenAI, DefaultAioHttpClient, Timeout
from pydantic import SecretStr

from app.settings import is_loopback

CONNECT_TIMEOUT_S = 5.0
AVOIDED_S = 2.0
"""Seconds for which a server that failed is asked only where every other has failed too."""

NO_KEY = "EMPTY"
"""What a server without keys is sent in a key's place."""


@dataclass
class Endpoint:
    """One server. `model` is what it is asked for; empty while that has not been found out."""

    client: AsyncOpenAI = field(repr=False)
    model: str = ""
    outstanding: int = 0
    avoided_until: float = -inf
    vouched_until: float = -inf

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Counts a call while it is under way."""
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1

    def failed(self) -> None:
        self.avoided_until = monotonic() + AVOIDED_S
        self.vouched_until = -inf

    def answered(self, fresh_s: float) -> None:
        self.avoided_until = -inf
        self.vouched_until = monotonic() + fresh_s


def connect(url: str, key: SecretStr | None) -> AsyncOpenAI:
    """A client that neither retries nor limits the time of an answer: both are the backend's own."""
    return AsyncOpenAI(
        base_url=url,
        api_key=key.get_secret_value() if key else NO_KEY,
        max_retries=0,
        timeout=Timeout(None, connect=CONNECT_TIMEOUT_S),
        http_client=DefaultAioHttpClient(trust_env=not is_loopback(urlsplit(url).hostname or "")),
    )


def least_busy(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint with the fewest calls under way, preferably one that has not just failed."""
    now = monotonic()
    return min(endpoints, key=lambda endpoint: (endpoint.avoided_until > now, endpoint.outstanding))

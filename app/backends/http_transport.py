"""HTTP to a backend's servers with one aiohttp connection pool. See docs/decisions/openai-client.md."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from pydantic import SecretStr

from app.telemetry.tracing import trace_headers

CONNECT_TIMEOUT_S = 5.0
DNS_TTL_S = 60

NO_KEY = "EMPTY"
"""The bearer token for servers that need no key."""


def open_session(idle_s: float, headers: Mapping[str, str]) -> ClientSession:
    """Return a session that sends `headers` with every request. Needs a running event loop."""
    return ClientSession(
        connector=TCPConnector(limit=0, ttl_dns_cache=DNS_TTL_S, keepalive_timeout=idle_s),
        headers={"Content-Type": "application/json", "User-Agent": "conviction", **headers},
        skip_auto_headers=("Accept", "Accept-Encoding"),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
    )


class HttpTransport:
    """`Transport` by plain HTTP with a bearer token. Needs a running event loop."""

    def __init__(self, key: SecretStr | None, idle_s: float) -> None:
        token = key.get_secret_value() if key else NO_KEY
        self._session = open_session(idle_s, {"Authorization": f"Bearer {token}"})

    async def models(self, url: str, proxy: str | None) -> ClientResponse:
        return await self._session.get(f"{url}/models", proxy=proxy, allow_redirects=False)

    async def chat(self, url: str, body: bytes, proxy: str | None, streamed: bool) -> ClientResponse:  # noqa: ARG002
        """Send the body, which itself states whether the response is streamed, with the trace's W3C headers."""
        return await self._session.post(
            f"{url}/chat/completions", data=body, proxy=proxy, headers=trace_headers(), allow_redirects=False
        )

    async def close(self) -> None:
        await self._session.close()

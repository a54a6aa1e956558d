"""Requests to a running gateway for an MCP client, with the client's key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import SecretStr

from app.settings.addresses import proxy_for

TIMEOUT_S = 660.0
"""More than the longest backend timeout that a gateway allows."""
KEY_HEADERS = ("authorization", "x-api-key")

Json = dict[str, Any]


class Refused(ToolError):
    """The gateway answered with a problem document, whose code is `code`."""

    def __init__(self, document: Json) -> None:
        super().__init__(_text(document))
        self.code = document.get("code")


@dataclass(frozen=True)
class Gateway:
    """A gateway, and the key to use for clients that send no HTTP headers. A cancelled request closes its connection,
    which cancels the model's call."""

    session: ClientSession
    url: str
    own_key: SecretStr | None

    async def ask(
        self,
        method: str,
        path: str,
        client_headers: Mapping[str, str] | None,
        *,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Json:
        """Return the gateway's answer; `content` is the request's `json` or `params`.

        Raises `Refused`, and `ToolError` if the gateway cannot be reached or another server answers.
        """
        try:
            async with self.session.request(
                method,
                self.url + path,
                headers={**(headers or {}), **self._key(client_headers)},
                allow_redirects=False,
                proxy=proxy_for(self.url),
                **content,
            ) as response:
                answer, refused = await response.read(), not response.ok or response.status >= 300
        except (ClientError, OSError) as error:  # TimeoutError is an OSError
            raise ToolError(f"no gateway answers at {self.url}: {error or type(error).__name__}") from None
        document = _document(answer)
        if document is None:
            raise ToolError(f"the server at {self.url} is not a gateway")
        if refused:
            raise Refused(document)
        return document

    def _key(self, client_headers: Mapping[str, str] | None) -> Mapping[str, str]:
        """Return the header with the client's key; without HTTP, with this process's own."""
        if client_headers is not None:
            return {name: client_headers[name] for name in KEY_HEADERS if name in client_headers}
        return {"authorization": f"Bearer {self.own_key.get_secret_value()}"} if self.own_key else {}


@asynccontextmanager
async def open_gateway(url: str, own_key: SecretStr | None) -> AsyncIterator[Gateway]:
    """Open the connections to a gateway."""
    async with ClientSession(timeout=ClientTimeout(TIMEOUT_S), cookie_jar=DummyCookieJar()) as session:
        yield Gateway(session, url, own_key)


def _document(content: bytes) -> Json | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(document: Json) -> str:
    """Return a problem document in a sentence that a language model can act on."""
    wrong = "".join(f"; {each['field']} {each['problem']}" for each in document.get("errors", ()))
    retry = f"; retry after {document['retry_after']} s" if document.get("retry_after") is not None else ""
    request = f" (request {document['request_id']})" if document.get("request_id") else ""
    return f"{document.get('title')} ({document.get('code')}): {document.get('detail')}{wrong}{retry}{request}"

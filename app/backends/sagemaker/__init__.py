"""vLLM behind a SageMaker endpoint: OpenAI's bodies, carried by InvokeEndpoint and its streaming form.

What AWS wraps around a request and its answer is put on and taken off here, so that to the rest of the gateway the
endpoint is one more server that speaks OpenAI's protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from app.backends.dialects import SAGEMAKER
from app.backends.origin import LISTING_MAX, Content, Response, read
from app.backends.sagemaker.errors import as_refused
from app.backends.sagemaker.event_stream import Frames
from app.backends.sagemaker.sigv4 import Signer
from app.backends.session import open_http
from app.backends.upstream_errors import DOCUMENT_MAX
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages

WHOLE, STREAMED = "invocations", "invocations-response-stream"
JSON = {"Content-Type": "application/json"}


class SageMaker:
    """`Origin` whose addresses are `…/endpoints/NAME`. Made where an event loop runs."""

    def __init__(self, signer: Signer, model: str, idle_s: float) -> None:
        self._signer, self._model = signer, model
        self._http = open_http(idle_s, {})

    async def models(self, url: str, proxy: str | None) -> Response:
        """The model that made one token: there is no list to ask for, and vLLM refuses a model it does not serve."""
        response = await self.chat(url, to_json(_probe(self._model)), proxy, streamed=False)
        if response.status != 200:
            return response
        return Told(200, JSON, Document(_listing(await read(response, LISTING_MAX))))

    async def chat(self, url: str, body: bytes, proxy: str | None, streamed: bool) -> Response:
        address = f"{url}/{STREAMED if streamed else WHOLE}"
        headers = await asyncio.to_thread(self._signer.headers, address, body, dict(JSON))
        response = await self._http.post(address, data=body, proxy=proxy, headers=headers, allow_redirects=False)
        if response.status != 200:
            return await _refused(response)
        if not streamed:
            return response
        kind = response.headers.get("X-Amzn-SageMaker-Content-Type", "")
        return Told(200, {"Content-Type": kind}, Frames(response.content), response)

    async def close(self) -> None:
        await self._http.close()


@dataclass(frozen=True)
class Told:
    """`Response` with AWS' wrapping taken off."""

    status: int
    headers: Mapping[str, str]
    content: Content
    _wrapped: ClientResponse | None = field(default=None, repr=False)

    def close(self) -> None:
        if self._wrapped is not None:
            self._wrapped.close()


class Document:
    """`Content` that is there already."""

    def __init__(self, document: bytes) -> None:
        self._rest = document

    async def readany(self) -> bytes:
        said, self._rest = self._rest, b""
        return said

    def at_eof(self) -> bool:
        return not self._rest


class _Completion(BaseModel):
    model: str


def _probe(model: str) -> dict[str, Any]:
    """A question such as clients ask, so that a check keeps the fixed part of the prompt in the model's cache."""
    whole = SAGEMAKER.request(model, messages(EXAMPLE, "SNPS", "brief"), "brief")
    del whole["stream_options"]
    return whole | {"stream": False, "max_tokens": 1}


async def _refused(response: ClientResponse) -> Told:
    document = await read(response, DOCUMENT_MAX)
    status, said = as_refused(response.status, response.headers.get("x-amzn-ErrorType", ""), document)
    after = {"Retry-After": value} if (value := response.headers.get("Retry-After")) else {}
    return Told(status, JSON | after, Document(said))


def _listing(completion: bytes) -> bytes:
    try:
        served = [{"id": _Completion.model_validate_json(completion).model}]
    except ValidationError:
        served = []
    return to_json({"data": served})

"""The transport to vLLM behind a SageMaker endpoint: OpenAI's bodies, wrapped by InvokeEndpoint and its streaming form.

This package adds and removes AWS' wrapping, so the rest of the gateway sees an OpenAI-compatible server.
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
from app.backends.http_transport import open_session
from app.backends.sagemaker.errors import unwrap_error
from app.backends.sagemaker.event_stream import EventStreamContent
from app.backends.sagemaker.sigv4 import Signer
from app.backends.transport import MODEL_LIST_MAX_BYTES, Content, Response, read_body
from app.backends.upstream_errors import ERROR_BODY_MAX_BYTES
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages

WHOLE, STREAMED = "invocations", "invocations-response-stream"
JSON = {"Content-Type": "application/json"}


class SageMakerTransport:
    """`Transport` for the addresses `…/endpoints/NAME`. Needs a running event loop."""

    def __init__(self, signer: Signer, model: str, idle_s: float) -> None:
        self._signer, self._model = signer, model
        self._session = open_session(idle_s, {})

    async def models(self, url: str, proxy: str | None) -> Response:
        """List the model that a completion of one token names: there is no list, and vLLM refuses other models."""
        response = await self.chat(url, to_json(_probe_body(self._model)), proxy, streamed=False)
        if response.status != 200:
            return response
        return UnwrappedResponse(200, JSON, BytesContent(_model_list(await read_body(response, MODEL_LIST_MAX_BYTES))))

    async def chat(self, url: str, body: bytes, proxy: str | None, streamed: bool) -> Response:
        address = f"{url}/{STREAMED if streamed else WHOLE}"
        headers = await asyncio.to_thread(self._signer.headers, address, body, dict(JSON))
        response = await self._session.post(address, data=body, proxy=proxy, headers=headers, allow_redirects=False)
        if response.status != 200:
            return await _unwrap_error(response)
        if not streamed:
            return response
        kind = response.headers.get("X-Amzn-SageMaker-Content-Type", "")
        return UnwrappedResponse(200, {"Content-Type": kind}, EventStreamContent(response.content), response)

    async def close(self) -> None:
        await self._session.close()


@dataclass(frozen=True)
class UnwrappedResponse:
    """`Response` without AWS' wrapping."""

    status: int
    headers: Mapping[str, str]
    content: Content
    _wrapped: ClientResponse | None = field(default=None, repr=False)

    def close(self) -> None:
        if self._wrapped is not None:
            self._wrapped.close()


class BytesContent:
    """`Content` that has already arrived."""

    def __init__(self, document: bytes) -> None:
        self._rest = document

    async def readany(self) -> bytes:
        piece, self._rest = self._rest, b""
        return piece

    def at_eof(self) -> bool:
        return not self._rest


class _Completion(BaseModel):
    model: str


def _probe_body(model: str) -> dict[str, Any]:
    """Return a client's typical body, so that a check keeps the prompt's fixed part in the model's prefix cache."""
    body = SAGEMAKER.request(model, messages(EXAMPLE, "SNPS", "brief"), "brief")
    del body["stream_options"]
    return body | {"stream": False, "max_tokens": 1}


async def _unwrap_error(response: ClientResponse) -> UnwrappedResponse:
    document = await read_body(response, ERROR_BODY_MAX_BYTES)
    error_type = response.headers.get("x-amzn-ErrorType", "")
    status, original = unwrap_error(response.status, error_type, document)
    retry_after = {"Retry-After": value} if (value := response.headers.get("Retry-After")) else {}
    return UnwrappedResponse(status, JSON | retry_after, BytesContent(original))


def _model_list(completion: bytes) -> bytes:
    try:
        models = [{"id": _Completion.model_validate_json(completion).model}]
    except ValidationError:
        models = []
    return to_json({"data": models})

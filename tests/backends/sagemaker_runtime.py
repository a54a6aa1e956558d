"""A double of SageMaker's runtime in front of the stand-in, after AWS' reference: it verifies signatures, wraps
responses and fails on demand."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from zlib import crc32

import httpx
from anyio import CancelScope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..conftest import StandIn

REGION = "eu-central-1"
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "AKIDEXAMPLE", "hush-secret-access-key", "hush-session-token"
ENDPOINT = "conviction"
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})")
SKEW_S = 300
PIECE = 7
"""Bytes of the body sent at a time, so that no frame arrives whole."""

FAILURES = {
    "throttled": (400, "ThrottlingException", {"message": "Rate exceeded"}),
    "loading": (429, "ModelNotReadyException", {"Message": "not ready"}),
    "expired": (403, "ExpiredTokenException", {"message": f"The security token {SESSION_TOKEN} is expired"}),
    "denied": (403, "AccessDeniedException", {"Message": "arn:aws:iam::123456789012:user/hush may not"}),
    "unavailable": (503, "ServiceUnavailable", {"Message": "unavailable"}),
    "internal": (500, "InternalFailure", {"Message": "failure"}),
    "dependency": (530, "InternalDependencyException", {"Message": "failure"}),
    "timed-out": (424, "ModelError", {"Message": "timed out", "OriginalStatusCode": 0, "OriginalMessage": ""}),
}


class Runtime:
    """`failing` holds the failures of the next requests, from `FAILURES` or "stream-error", "broken-frame"."""

    def __init__(self, stand_in: StandIn) -> None:
        self.failing: list[str] = []
        self.requests: list[str] = []
        """The operation of each request with a valid signature."""
        self.refused: list[str] = []
        self._stand_in = stand_in

    def forget(self) -> None:
        for records in (self.failing, self.requests, self.refused):
            records.clear()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=self._stand_in.url, timeout=30, trust_env=False) as client:
            client.headers["Authorization"] = f"Bearer {self._stand_in.key}"
            self._client = client
            yield

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        if wrong := signature_error(request, body):
            self.refused.append(wrong)
            return aws_error(403, "InvalidSignatureException", {"message": wrong})
        operation = request.path_params["operation"]
        self.requests.append(operation)
        failing = self.failing.pop(0) if self.failing else ""
        if failing in FAILURES:
            return aws_error(*FAILURES[failing])
        if request.path_params["endpoint"] != ENDPOINT:
            return aws_error(400, "ValidationError", {"Message": "Endpoint hush of account 123456789012 not found."})
        streamed = operation == "invocations-response-stream"
        return await self._forward(body, streamed, failing)

    async def _forward(self, body: bytes, streamed: bool, failing: str) -> Response:
        """Return the container's response, wrapped."""
        request = self._client.build_request(
            "POST", "/chat/completions", content=body, headers={"Content-Type": "application/json"}
        )
        answer = await self._client.send(request, stream=True)
        kind = answer.headers["Content-Type"]
        if answer.status_code != 200 or not streamed:
            document = await answer.aread()
            if answer.status_code == 200:
                return Response(document, media_type=kind, headers={"x-Amzn-Invoked-Production-Variant": "all"})
            refusal = {
                "Message": f"Received client error ({answer.status_code}) from primary. See account 123456789012",
                "OriginalStatusCode": answer.status_code,
                "OriginalMessage": document.decode(),
                "LogStreamArn": "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/sagemaker/Endpoints/hush",
            }
            return aws_error(424, "ModelError", refusal)
        return StreamingResponse(
            self._frame_parts(answer, failing),
            media_type="application/vnd.amazon.eventstream",
            headers={"X-Amzn-SageMaker-Content-Type": kind},
        )

    async def _frame_parts(self, answer: httpx.Response, failing: str) -> AsyncIterator[bytes]:
        try:
            async for part in answer.aiter_bytes():
                if failing == "stream-error":
                    yield frame({":message-type": "exception", ":exception-type": "ModelStreamError"}, b"{}")
                    return
                whole = payload_part(part)
                if failing == "broken-frame":
                    whole = whole[:-1] + bytes([whole[-1] ^ 1])
                for start in range(0, len(whole), max(PIECE, len(whole) // 3)):
                    yield whole[start : start + max(PIECE, len(whole) // 3)]
        except httpx.HTTPError:
            yield frame({":message-type": "exception", ":exception-type": "InternalStreamFailure"}, b"{}")
        finally:
            with CancelScope(shield=True):  # a client's disconnect must reach the model
                await answer.aclose()


def create_runtime(runtime: Runtime) -> Starlette:
    route = Route("/endpoints/{endpoint}/{operation}", runtime.answer, methods=["POST"])
    return Starlette(routes=[route], lifespan=runtime.lifespan)


def aws_error(status: int, kind: str, document: dict[str, object]) -> Response:
    return JSONResponse(document, status, headers={"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/"})


def signature_error(request: Request, body: bytes) -> str | None:
    """Return what is wrong with a request's signature, by the reference of Signature Version 4."""
    found = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        return "no signature"
    credential, names, signature = found.groups()
    moment = request.headers.get("x-amz-date", "")
    signed = names.split(";")
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(signed):
        return "too few headers are signed"
    if request.headers["x-amz-security-token"] != SESSION_TOKEN:
        return "another session"
    sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs((datetime.now(UTC) - sent).total_seconds()) > SKEW_S:
        return "another time"
    scope = f"{moment[:8]}/{REGION}/sagemaker/aws4_request"
    if credential != f"{ACCESS_KEY}/{scope}":
        return "another credential"
    lines = [f"{name}:{' '.join(request.headers[name].split())}" for name in signed]
    canonical = "\n".join([request.method, request.url.path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    good = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    return None if hmac.compare_digest(good, signature) else "another signature"


def payload_part(part: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return frame(headers, part)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Return a message of application/vnd.amazon.eventstream."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack("!I", crc32(prelude))
    message = prelude + head + payload
    return message + struct.pack("!I", crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()


def credentials() -> Iterator[tuple[str, str]]:
    """Yield the environment variables that sign for the double."""
    yield "AWS_ACCESS_KEY_ID", ACCESS_KEY
    yield "AWS_SECRET_ACCESS_KEY", SECRET_KEY
    yield "AWS_SESSION_TOKEN", SESSION_TOKEN
    yield "AWS_EC2_METADATA_DISABLED", "true"
    yield "AWS_CONFIG_FILE", "/nowhere"
    yield "AWS_SHARED_CREDENTIALS_FILE", "/nowhere"

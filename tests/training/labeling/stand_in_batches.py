"""A stand-in for OpenAI's Files and Batch API, answered by the stand-in for its chat completions.

Strict about the protocol; its next batches' outcomes are configurable. Its answers are the rule-based analyst's.
"""

from __future__ import annotations

import email
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp

MAX_REQUESTS = 50_000


@dataclass(frozen=True)
class Fate:
    """How a batch ends: by its requests' places, those that expire, fail with a status, or are left out."""

    expire: frozenset[int] = frozenset()
    fail: dict[int, int] = field(default_factory=dict)
    lose: frozenset[int] = frozenset()
    status: str = "completed"
    """Of the batch; `failed` means that it was not taken at all."""
    code: str = "invalid_request"
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda result: result
    """Made to each line of the output file."""


def _refused(status: int, message: str, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": code}}, status)


class StandInBatches:
    """State and endpoints: `fates` are those of the next batches, `requests` each batch's by custom_id."""

    def __init__(self, chat: ASGIApp, key: str) -> None:
        self.key = key
        self.fates: list[Fate] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, list[str]] = {}
        self.before_create: Callable[[], None] = lambda: None
        self.after_create: Callable[[], None] = lambda: None
        self.before_poll: Callable[[], None] = lambda: None
        self._chat = httpx.ASGITransport(chat)
        self.app = FastAPI(openapi_url=None)
        self.app.add_api_route("/v1/files", self._upload, methods=["POST"])
        self.app.add_api_route("/v1/files/{name}/content", self._content)
        self.app.add_api_route("/v1/batches", self._create, methods=["POST"])
        self.app.add_api_route("/v1/batches", self._list)
        self.app.add_api_route("/v1/batches/{name}", self._retrieve)
        self.app.middleware("http")(self._guard)
        self.app.mount("/", chat)

    async def _guard(self, request: Request, go_on: Any) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refused(401, f"Incorrect API key provided: {self.key}", "invalid_api_key")
        response: Response = await go_on(request)
        return response

    async def _upload(self, request: Request) -> Response:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + await request.body()).get_payload()
        given = {part.get_param("name", header="content-disposition"): part for part in parts}  # type: ignore[union-attr]
        if given["purpose"].get_payload(decode=True) != b"batch":  # type: ignore[union-attr]
            return _refused(400, "purpose must be batch")
        return JSONResponse(self._file(given["file"].get_payload(decode=True), "batch"))  # type: ignore[union-attr,arg-type]

    async def _content(self, name: str) -> Response:
        if name not in self.files:
            return _refused(404, "no such file")
        return Response(self.files[name], media_type="application/octet-stream")

    async def _create(self, request: Request) -> Response:
        order = json.loads(await request.body())
        if order.keys() - {"metadata"} != {"completion_window", "endpoint", "input_file_id"}:
            return _refused(400, "unknown or missing fields")
        if (order["completion_window"], order["endpoint"]) != ("24h", "/v1/chat/completions"):
            return _refused(400, "no such window or endpoint")
        self.before_create()
        lines = [json.loads(line) for line in self.files[order["input_file_id"]].splitlines()]
        fate = self.fates.pop(0) if self.fates else Fate()
        if wrong := self._wrong(lines):
            fate = Fate(status="failed", code=wrong)
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = self._batch(name, order)
        self.requests[name] = [line["custom_id"] for line in lines]
        self.batches[name]["after"] = await self._ended(lines, fate)
        self.after_create()
        return JSONResponse(self._shown(name))

    async def _list(self, request: Request) -> Response:
        names = list(reversed(self.batches))
        after = request.query_params.get("after")
        names = names[names.index(after) + 1 :] if after else names
        limit = min(int(request.query_params.get("limit", 20)), 2)
        page = [self._shown(name) for name in names[:limit]]
        return JSONResponse({"object": "list", "data": page, "has_more": len(names) > limit})

    async def _retrieve(self, name: str) -> Response:
        if name not in self.batches:
            return _refused(404, "no such batch")
        self.before_poll()
        batch = self.batches[name]
        if batch["polls"]:
            batch.update(batch["after"])
        batch["polls"] += 1
        return JSONResponse(self._shown(name))

    def _wrong(self, lines: list[dict[str, Any]]) -> str | None:
        """Why a file is not taken."""
        names = [line["custom_id"] for line in lines]
        if not lines or len(lines) > MAX_REQUESTS or len(set(names)) < len(names):
            return "invalid_file"
        if len({line["body"]["model"] for line in lines}) > 1:
            return "mismatched_model"
        for line in lines:
            if line.keys() != {"custom_id", "method", "url", "body"} or line["body"].get("stream"):
                return "invalid_request"
            if (line["method"], line["url"]) != ("POST", "/v1/chat/completions"):
                return "invalid_url"
        return None

    async def _ended(self, lines: list[dict[str, Any]], fate: Fate) -> dict[str, Any]:
        """What the batch is once it has ended; its results in no order that was asked for."""
        if fate.status == "failed":
            errors = {"object": "list", "data": [{"code": fate.code, "message": f"for {self.key}", "line": 1}]}
            return {"status": "failed", "errors": errors}
        output, errors_out = [], []
        async with httpx.AsyncClient(transport=self._chat, base_url="http://stand-in") as client:
            for place, line in enumerate(lines):
                result = {"id": f"r{place}", "custom_id": line["custom_id"], "response": None, "error": None}
                if place in fate.lose:
                    continue
                if place in fate.expire:
                    errors_out.append({**result, "error": {"code": "batch_expired", "message": self.key}})
                    continue
                answer = await self._answer(client, line, fate.fail.get(place))
                response = {"status_code": answer.status_code, "request_id": "x", "body": answer.json()}
                if answer.status_code == 200:
                    output.append(fate.change({**result, "response": response}))
                else:
                    errors_out.append({**result, "response": response})
        files = {"output_file_id": output, "error_file_id": errors_out}
        written = {
            name: self._file(_jsonl(lines[::-1]), "batch_output")["id"] for name, lines in files.items() if lines
        }
        counts = {"total": len(lines), "completed": len(output), "failed": len(errors_out)}
        return {"status": fate.status, "request_counts": counts, **written}

    async def _answer(self, client: httpx.AsyncClient, line: dict[str, Any], status: int | None) -> httpx.Response:
        if status:
            return httpx.Response(status, json={"error": {"message": self.key, "code": "server_error"}})
        headers = {"authorization": f"Bearer {self.key}"}
        return await client.post("/v1/chat/completions", json=line["body"], headers=headers)

    def _file(self, content: bytes, purpose: str) -> dict[str, Any]:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        shown = {"id": name, "object": "file", "bytes": len(content), "created_at": int(time())}
        return {**shown, "filename": f"{name}.jsonl", "purpose": purpose, "status": "processed"}

    def _batch(self, name: str, order: dict[str, Any]) -> dict[str, Any]:
        shown = {"id": name, "object": "batch", "status": "validating", "created_at": int(time()), **order}
        return {**shown, "metadata": order.get("metadata"), "polls": 0}

    def _shown(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.batches[name].items() if key not in ("polls", "after")}


def _jsonl(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)

"""CPU of an endpoint that validates by hand, and of the same with FastAPI's parameters and with its response model.

python -m bench.endpoints

docs/decisions/openapi-document.md lists the options. Called as ASGI; each endpoint returns what it received.
"""

# ruff: noqa: ARG001 - FastAPI parses the headers whether they are read or not

from __future__ import annotations

import asyncio
import json
from statistics import median
from time import process_time
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response

from app.api.schemas import RecommendationRequest
from app.contract.fingerprint import EXAMPLE

CALLS, ROUNDS = 2000, 5
BODY = json.dumps({"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"}).encode()
OPTIONS = {"/by-hand": "option 4", "/parameters": "option 2", "/response-model": "option 1"}
Text = Annotated[str | None, Header()]

app = FastAPI()


@app.post("/by-hand")
async def by_hand(request: Request) -> Response:
    asked = RecommendationRequest.model_validate_json(await request.body())
    return Response(asked.model_dump_json(), media_type="application/json")


@app.post("/parameters")
async def parameters(asked: RecommendationRequest, a: Text, b: Text, c: Text, d: Text, e: Text, f: Text) -> Response:
    return Response(asked.model_dump_json(), media_type="application/json")


@app.post("/response-model")
async def response_model(
    asked: RecommendationRequest, a: Text, b: Text, c: Text, d: Text, e: Text, f: Text
) -> RecommendationRequest:
    return asked


async def post(path: str) -> None:
    headers = [(b"content-type", b"application/json"), *((name.encode(), b"value") for name in "abcdef")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        if message.get("status", 200) != 200:
            raise SystemExit(f"{path}: {message}")

    await app(scope, receive, send)


async def main() -> None:
    taken: dict[str, list[float]] = {path: [] for path in OPTIONS}
    for number in range(1 + ROUNDS):
        for path, times in taken.items():
            began = process_time()
            for _ in range(CALLS):
                await post(path)
            if number:  # the first round warms up
                times.append(1e6 * (process_time() - began) / CALLS)
    for path, option in OPTIONS.items():
        print(f"{option}: {median(taken[path]):.0f} us a request")


if __name__ == "__main__":
    asyncio.run(main())

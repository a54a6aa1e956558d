"""Record the OpenAPI document's examples from a gateway with the stand-in: `python -m tests.api.record_examples`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from fastapi import FastAPI

from app.api import examples
from app.api.examples import REQUESTS
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import ANSWER_TOKENS, response_format
from app.main import create_app
from app.settings.gateway import Settings
from app.stand_in import create_stand_in
from tests.conftest import STAND_IN_KEY, served

FILE = Path(examples.__file__).with_name("examples.json")
KEY = "0123456789abcdef"
SECRET = re.compile(r"(cvk_[0-9a-f]{12}_)[A-Za-z0-9_-]{43}")
FULL, BRIEF = REQUESTS["full"]["value"], REQUESTS["brief"]["value"]
CHAT = {
    "model": "mistral",
    "messages": messages(EXAMPLE, "SNPS", "brief"),
    "temperature": 0,
    "max_tokens": ANSWER_TOKENS["brief"],
    "response_format": response_format("brief"),
}
ITEMS = [BRIEF | {"custom_id": "SNPS/2024-03-08"}, {"ticker": "NOPE", "custom_id": "NOPE"}]

VERDICT = {
    "recommendation_id": "{recommendation_id}",
    "verdict": {"helpful": False, "comment": "It ignores the earnings date."},
}
OUTCOME = {"recommendation_id": "{recommendation_id}", "outcome": {"sessions": 5, "realised_return": -0.0215}}


@dataclass(frozen=True)
class Example:
    """A request whose response is an example of an operation; `query` completes the operation's path."""

    operation: str
    name: str
    summary: str
    body: object = None
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def request(self) -> tuple[str, str]:
        method, path = self.operation.split()
        for parameter, value in {"model": "mistral", "action": "start", "ticker": "MSFT"}.items():
            path = path.replace(f"{{{parameter}}}", value)
        return method, path + self.query


def invalid(operation: str, body: object = None, query: str = "") -> Example:
    return Example(operation, "invalid_request", "Invalid request", body, query)


EXAMPLES = (
    Example("POST /v1/recommendations", "full", "With an analysis", FULL),
    Example("POST /v1/recommendations", "brief", "Action and conviction only", BRIEF),
    Example("POST /v1/recommendations", "stream", "The first events, and the last", FULL | {"stream": True}),
    invalid("POST /v1/recommendations", {"ticker": "AAPL", "detial": "brief"}),
    Example("POST /v1/chat/completions", "brief", "A brief answer", CHAT),
    Example("POST /v1/chat/completions", "stream", "The first events, and the last", CHAT | {"stream": True}),
    invalid("POST /v1/chat/completions", {"model": "mistral"}),
    Example("POST /v1/recommendations/batch", "batch", "An answer and a problem", {"items": ITEMS, "detail": "brief"}),
    invalid("POST /v1/recommendations/batch", {"items": []}),
    Example("POST /v1/comparisons", "brief", "Both backends", BRIEF),
    invalid("POST /v1/comparisons", {"detail": "brief"}),
    Example("GET /v1/recommendations", "page", "A page of one", query="?limit=1"),
    invalid("GET /v1/recommendations", query="?limit=0"),
    Example("POST /v1/feedback", "verdict", "A verdict", VERDICT),
    Example("POST /v1/feedback", "outcome", "A return over five sessions", OUTCOME),
    invalid("POST /v1/feedback", {"recommendation_id": "{recommendation_id}"}),
    Example("GET /v1/recommendations/{recommendation_id}", "logged", "A brief answer and the feedback on it"),
    Example("GET /v1/comparisons", "page", "A page of one pair", query="?limit=1"),
    Example("GET /v1/comparisons", "csv", "The first rows", headers={"Accept": "text/csv"}),
    invalid("GET /v1/comparisons", query="?limit=501"),
    Example("GET /v1/comparisons/report", "report", "Of one pair"),
    Example("GET /v1/comparisons/report", "csv", "The first rows", headers={"Accept": "text/csv"}),
    invalid("GET /v1/comparisons/report", query="?from=yesterday"),
    Example("POST /v1/keys", "issued", "A key with a budget", {"name": "ann", "usd_per_day": "5"}),
    invalid("POST /v1/keys", {"name": ""}),
    Example("GET /v1/keys", "page", "One key"),
    invalid("GET /v1/keys", query="?after=x"),
    Example("GET /v1/backends", "backends", "All backends"),
    Example("GET /v1/costs", "costs", "After a few requests"),
    Example("GET /v1/market/{ticker}/bars", "bars", "Three sessions", query="?as_of=2013-02-15&sessions=3"),
    invalid("GET /v1/market/{ticker}/bars", query="?sessions=261"),
    Example("GET /v1/market/tickers", "tickers", "Those of the sample market", query="?limit=3"),
    invalid("GET /v1/market/tickers", query="?limit=1001"),
    Example("GET /health/live", "alive", "Alive"),
    Example("GET /health/ready", "ready", "Ready"),
    Example("GET /metrics", "metrics", "The first lines"),
    Example("PUT /v1/canary/{action}", "started", "In its first step"),
    Example("GET /v1/canary", "running", "In its first step"),
    Example("GET /v1/models", "models", "Both models"),
    Example("GET /v1/models/{model}", "mistral", "One model"),
)
NOT_READY = Example("GET /health/ready", "not_ready", "The gateway is stopping")
FAILED = ("invalid_request", NOT_READY.name)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Run a gateway with keys, an own store and the stand-in as all backends."""
    keys = folder / "keys"
    keys.write_text(f"admin:{KEY}")
    keys.chmod(0o600)
    with served(create_stand_in(key=STAND_IN_KEY)) as origin:
        settings = {
            **{"vllm_urls": f"{origin}/v1", "openai_base_url": f"{origin}/v1", "openai_api_key": STAND_IN_KEY},
            **{"candidate_urls": f"{origin.replace('127.0.0.1', 'localhost')}/v1"},
            **{"hosting_usd_per_hour": "0.10", "capacity_tokens_per_hour": 100_000},
            **{"market": "sample", "cache_s": 0, "api_keys_file": keys},
            **{"store_dir": folder / "store", "decision_log": "required"},
        }
        app = create_app(Settings.model_validate(settings))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers={"X-API-Key": KEY}
            ) as client,
        ):
            yield app, client


async def record() -> dict[str, Any]:
    """Return the examples by operation, status, media type and name."""
    recorded: dict[str, Any] = {}
    answered = ""
    with TemporaryDirectory() as folder:
        async with running(Path(folder)) as (app, client):
            while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - the log is being opened
                await asyncio.sleep(0.2)
            for example in (*EXAMPLES, NOT_READY):
                app.state.drain.started = example is NOT_READY
                method, path = example.request
                path = path.replace("{recommendation_id}", answered)
                body = json.loads(json.dumps(example.body).replace("{recommendation_id}", answered))
                response = await client.request(method, path, json=body, headers=dict(example.headers))
                by_status = recorded.setdefault(example.operation, {}).setdefault(str(response.status_code), {})
                assert response.is_success == (example.name not in FAILED), response.text
                if example.operation == "POST /v1/recommendations" and example.body is BRIEF:
                    answered = response.json()["id"]
                media_type = response.headers["content-type"].partition(";")[0]
                shown = {"summary": example.summary, "value": value(media_type, response)}
                by_status.setdefault(media_type, {})[example.name] = shown
    return recorded


def value(media_type: str, response: httpx.Response) -> Any:
    """Return a JSON document, or the excerpt of a text; without a key's secret."""
    text = SECRET.sub(r"\1…", response.text)
    if media_type.endswith(("/json", "+json")):
        return json.loads(text)
    if media_type == "text/event-stream":
        events = text.rstrip("\n").split("\n\n")
        return "\n\n".join([*events[:2], *events[max(2, len(events) - 2) :]]) + "\n\n"
    return text if media_type == "application/x-ndjson" else "".join(text.splitlines(keepends=True)[:6])


if __name__ == "__main__":
    FILE.write_text(json.dumps(asyncio.run(record()), indent=1, ensure_ascii=False) + "\n", "utf-8")

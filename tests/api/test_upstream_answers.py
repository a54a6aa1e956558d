"""Whatever a model server answers with status 200: an answer or a named problem, and nothing negative in the ledger."""

from __future__ import annotations

import asyncio
import copy
import json
from datetime import UTC, datetime
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.main import create_app
from app.settings.gateway import Settings
from app.stores.connection import open_redis
from tests.conftest import STAND_IN_KEY
from tests.doubles import EXAMPLE_BODY, ledger_key, listening

EXAMPLES = 25
ANSWER = '{"action":"buy","conviction":7}'
LOGPROBS = {"content": [{"token": ANSWER, "logprob": -0.1, "top_logprobs": [{"token": ANSWER, "logprob": -0.1}]}]}
EVENTS: list[Any] = [
    {"id": "1", "model": "gpt-4.1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {"content": ANSWER}, "logprobs": LOGPROBS, "finish_reason": None}]},
    {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
]
MEDIA_TYPES = ("text/event-stream", "text/event-stream; charset=utf-8", "application/json", "text/html", "x")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**53, 2**63, 10**400, 1e308, -0.0])
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, str]:
    """A completion's stream in which values, lines and bytes are replaced, repeated or left out; and a media type."""
    events = copy.deepcopy(EVENTS)
    for _ in range(draw(st.integers(0, 3))):
        _replace(draw, events)
    lines = [b"data: " + json.dumps(event).encode() for event in events] + [b"data: [DONE]"]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(lines)))
        if draw(st.booleans()):
            lines.insert(at, draw(st.binary(max_size=30) | st.sampled_from(lines or [b""])))
        else:
            del lines[at : at + 1]
    body = b"\n\n".join(lines) + b"\n\n"
    end = draw(st.just(len(body)) | st.integers(0, len(body)))
    return body[:end], draw(st.just(MEDIA_TYPES[0]) | st.sampled_from(MEDIA_TYPES))


def _replace(draw: st.DrawFn, whole: Any) -> None:
    """Replace a value somewhere within a list or object."""
    while isinstance(whole, list | dict) and whole:
        keys = list(whole) if isinstance(whole, dict) else list(range(len(whole)))
        key = draw(st.sampled_from(keys))
        inner = whole[key]
        if not (isinstance(inner, list | dict) and inner) or draw(st.integers(0, 3)) == 0:
            whole[key] = draw(values)
            return
        whole = inner


class Server:
    """An OpenAI server with a drawn answer."""

    def __init__(self) -> None:
        self.answer = (b"", "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        body, media_type = self.answer
        await Response(body, headers={"Content-Type": media_type})(scope, receive, send)


REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/recommendations", EXAMPLE_BODY | {"detail": "brief"}),
    ("/v1/recommendations", EXAMPLE_BODY | {"detail": "brief", "stream": True}),
    ("/v1/chat/completions", {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}),
    ("/v1/chat/completions", {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}], "stream": True}),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(st.tuples(answers(), st.sampled_from(REQUESTS)), min_size=1, max_size=4))
def test_no_answer_is_an_internal_error(store_url: str, drawn: list[tuple[tuple[bytes, str], Any]]) -> None:
    async def play() -> None:
        store, server = f"{store_url}?db=5", Server()
        async with open_redis(SecretStr(store)) as redis, listening(server) as origin:  # type: ignore[arg-type]
            await redis.flushdb()
            given = {"openai_base_url": f"{origin}/v1", "openai_api_key": STAND_IN_KEY, "redis_url": store}
            app = create_app(Settings.model_validate(given | {"market": "sample", "cache_s": 0}))
            async with (
                app.router.lifespan_context(app),
                listening(app) as gateway,
                httpx.AsyncClient(base_url=gateway, timeout=60, headers={"X-Backend": "gpt-4"}) as client,
            ):
                for server.answer, (path, body) in drawn:
                    response = await client.post(path, json=body)
                    assert response.status_code in (200, 502, 503, 504), (response.status_code, response.text)
                    assert "internal_error" not in response.text
            booked = await redis.hgetall(ledger_key("gpt-4", datetime.now(UTC)))
            assert all(int(amount) >= 0 for amount in booked.values()), booked

    asyncio.run(play())

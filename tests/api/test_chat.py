"""The chat endpoint as the openai package meets it: another base URL, and nothing else is different."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from app.backends.dialects import VLLM, openai_dialect
from app.contract.completion import BackendName, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from app.errors import BackendError, BackendUnavailable
from app.main import create_app
from app.pricing.prices import NANO
from app.settings.gateway import Settings
from tests.conftest import StandIn
from tests.doubles import PARTIAL_USAGE, PRICES, USAGE, Broken, Gateway, completion, gateway, ledger, listening
from tests.waiting import until

KEY = "0123456789abcdef"
SAID = completion("Good morning to you.")
HELLO: Any = [{"role": "user", "content": "Good morning."}]
COST = str(PRICES["gpt-4"].cost(USAGE).usd)


@asynccontextmanager
async def openai_client(origin: str, key: str = KEY) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key=key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"tests:{KEY}")
    file.chmod(0o600)
    return file


@pytest.fixture
async def running(own_store: str, keys: Path) -> AsyncIterator[Gateway]:
    async with gateway(own_store, wire=True, api_keys_file=keys) as running:
        yield running


@pytest.fixture
async def client(running: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai_client(str(running.client.base_url)) as client:
        yield client


def outcomes(running: Gateway, outcome: str, backend: str = "gpt-4") -> float:
    return running.sample("conviction_requests_total", backend=backend, detail="chat", outcome=outcome)


# Over both real clients


@pytest.fixture
async def real(own_store: str, stand_in: StandIn, keys: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client of a gateway before the stand-in."""
    settings = {
        "vllm_urls": stand_in.url,
        "openai_base_url": stand_in.url,
        "openai_api_key": stand_in.key,
        "hosting_usd_per_hour": "0.10",
        "capacity_tokens_per_hour": 100_000,
        "redis_url": own_store,
        "market": "sample",
        "api_keys_file": keys,
        "gpt4_usd_per_day": "10",
    }
    app = create_app(Settings.model_validate(settings))
    async with (
        app.router.lifespan_context(app),
        listening(app) as origin,
        openai_client(origin) as client,
    ):
        yield client


def asked(name: BackendName) -> dict[str, Any]:
    """What the stand-in takes, under the name that clients know."""
    prompt = messages(EXAMPLE, "SNPS", "brief")
    body = (VLLM if name == "mistral" else openai_dialect("gpt-4.1")).request(name, prompt, "brief")
    return {key: value for key, value in body.items() if key not in ("stream", "stream_options")}


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_a_whole_completion_of_either_model(real: openai.AsyncOpenAI, name: BackendName) -> None:
    raw = await real.chat.completions.with_raw_response.create(**asked(name))
    said = raw.parse()
    assert said.choices[0].message.content == canonical(answer(EXAMPLE, "brief"))
    assert said.usage
    assert said.usage.completion_tokens > 0
    assert Decimal(raw.headers["x-cost-usd"]) > 0
    assert raw.headers["x-backend"] == name
    assert raw.headers["x-request-id"]
    assert raw.headers["x-stand-in"] == "true"
    if name == "gpt-4":
        assert '"backend-budget";r=' in raw.headers["ratelimit"]


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
@pytest.mark.parametrize("usage_asked", [False, True])
async def test_a_stream_of_either_model(real: openai.AsyncOpenAI, name: BackendName, usage_asked: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if usage_asked else {}
    stream = await real.chat.completions.create(**asked(name), stream=True, **options)
    chunks = [chunk async for chunk in stream]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == canonical(answer(EXAMPLE, "brief"))
    usage_chunks = [chunk for chunk in chunks if not chunk.choices]
    assert len(usage_chunks) == usage_asked


async def test_an_error_of_the_backend_about_the_request_is_passed_on(real: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await real.chat.completions.create(**asked("gpt-4") | {"temperature": 1.5})
    assert "the temperature must be 0" in str(refused.value)
    with pytest.raises(openai.BadRequestError):
        await real.chat.completions.create(**asked("gpt-4") | {"temperature": 1.5}, stream=True)


# What the gateway adds


async def test_a_stream_states_its_cost_in_a_comment_before_its_end(running: Gateway) -> None:
    running.backends["gpt-4"].script = [SAID]
    body = {"model": "gpt-4", "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    response = await running.client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["x-accel-buffering"], response.headers["cache-control"]) == ("no", "no-store")
    assert response.text.endswith(f"}}]}}\n\n: cost_usd={COST.rstrip('0')}\n\ndata: [DONE]\n\n")


async def test_a_client_that_leaves_once_it_has_read_the_end_was_answered(
    running: Gateway, client: openai.AsyncOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        stream = await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=True)
        async for _ in stream:
            pass
    await until(lambda: outcomes(running, "ok") == 5)
    assert outcomes(running, "client_gone") == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_pieces_come_while_the_model_is_still_writing(running: Gateway, client: openai.AsyncOpenAI) -> None:
    running.backends["gpt-4"].script = [SAID]
    running.backends["gpt-4"].go = go = asyncio.Event()
    stream = await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=True)
    async with asyncio.timeout(20):
        first = await anext(stream)
    assert first.choices[0].delta.content == SAID.text[:5]
    go.set()
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == SAID.text[5:]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_disconnect_ends_the_call_and_the_received_tokens_are_charged(
    running: Gateway, client: openai.AsyncOpenAI, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    backend = running.backends["gpt-4"]
    backend.go = asyncio.Event()

    async def ask() -> None:
        if streamed:
            async for _ in await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=True):
                pass
        else:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)

    pending = asyncio.create_task(ask())
    await until(lambda: bool(backend.chat_streams) and backend.chat_streams[0].stream.began.is_set())
    pending.cancel()
    await asyncio.wait((pending,))
    await asyncio.wait_for(backend.chat_streams[0].stream.left.wait(), 2)
    await until(lambda: outcomes(running, "client_gone") == 1)
    assert (await ledger(running, "gpt-4"))["nano_usd"] == PRICES["gpt-4"].cost(PARTIAL_USAGE).nano_usd
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# Errors


async def test_a_wrong_key_is_an_authentication_error(running: Gateway) -> None:
    async with openai_client(str(running.client.base_url), "wrong-key-0123456789") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert refused.value.code == "unauthorized"
    assert "wrong-key" not in str(refused.value)


async def test_another_model_is_not_found(running: Gateway, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="the model must be mistral or gpt-4"):
        await client.chat.completions.create(model="gpt-5", messages=HELLO)
    assert outcomes(running, "not_found", "unknown") == 1  # typos make no new labels


@pytest.mark.parametrize(
    ("wrong", "param"),
    [({"messages": []}, "messages"), ({"max_tokens": 0}, "max_tokens"), ({"n": "two"}, "n"), ({"stream": 1}, "stream")],
)
async def test_a_wrong_form_names_the_parameter(client: openai.AsyncOpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await client.chat.completions.create(**{"model": "gpt-4", "messages": HELLO, **wrong})
    assert (refused.value.param, refused.value.code) == (param, "invalid_request")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_limits_are_rate_limit_errors_that_tell_when(own_store: str, keys: Path, streamed: bool) -> None:
    async with (
        gateway(own_store, wire=True, api_keys_file=keys, key_requests_per_minute=1) as running,
        openai_client(str(running.client.base_url)) as client,
    ):
        await client.chat.completions.create(model="gpt-4", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=streamed)
        assert (refused.value.type, refused.value.code) == ("rate_limit_exceeded", "rate_limited")
        assert 50 < int(refused.value.response.headers["retry-after"]) <= 60
        assert '"key-requests";r=0' in refused.value.response.headers["ratelimit"]
        assert running.sample("conviction_limited_total", scope="key", reason="requests") == 1


async def test_a_budget_is_a_quota_and_holds_without_a_limit_of_the_client_s(own_store: str, keys: Path) -> None:
    async with (
        gateway(own_store, wire=True, api_keys_file=keys, gpt4_usd_per_day="0.05") as running,
        openai_client(str(running.client.base_url)) as client,
    ):
        with pytest.raises(openai.RateLimitError) as refused:
            for _ in range(1000):
                await client.chat.completions.create(model="gpt-4", messages=HELLO)
        assert (refused.value.type, refused.value.code) == ("insufficient_quota", "budget_exceeded")
        assert 0 < (await ledger(running, "gpt-4"))["nano_usd"] <= NANO // 20


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_backend_that_fails_is_an_internal_error(
    running: Gateway, client: openai.AsyncOpenAI, streamed: bool
) -> None:
    running.backends["gpt-4"].script = [BackendUnavailable("gpt-4 cannot be reached", retry_after=4.2)]
    with pytest.raises(openai.InternalServerError) as failed:
        await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=streamed)
    assert (failed.value.status_code, failed.value.code) == (503, "backend_unavailable")
    assert failed.value.response.headers["retry-after"] == "5"
    assert outcomes(running, "backend_unavailable") == 1


async def test_a_failure_in_mid_stream_is_raised_in_the_client(
    running: Gateway, client: openai.AsyncOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    running.backends["gpt-4"].script = [Broken("Good morning", BackendError("gpt-4 broke off"), Usage(400, 3))]
    stream = await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=True)
    received = ""
    with pytest.raises(openai.APIError, match="gpt-4 broke off"):
        async for chunk in stream:
            received += chunk.choices[0].delta.content or ""
    assert received == "Good morning"
    await until(lambda: outcomes(running, "backend_error") == 1)
    assert (await ledger(running, "gpt-4"))["output_tokens"] == 3
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_unexpected_error_in_mid_stream_has_no_trace(
    running: Gateway, client: openai.AsyncOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    running.backends["gpt-4"].script = [Broken("Good morning", RuntimeError("/secret/path exploded"))]
    stream = await client.chat.completions.create(model="gpt-4", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="the log has the details") as failed:
        async for _ in stream:
            pass
    assert "exploded" not in str(failed.value.body)
    assert caplog.text.count("unexpected error") == 1


async def test_an_invalid_body_gets_an_openai_error(running: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for content, status in ((b"{", 422), (b" " * 1_100_000, 413), (b"[]", 422)):
        response = await running.client.post("/v1/chat/completions", content=content, headers=headers)
        assert response.status_code == status
        assert set(json.loads(response.text)["error"]) == {"message", "type", "param", "code"}

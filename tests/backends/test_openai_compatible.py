"""The client over real HTTP: answers, failures, retries, deadlines, cancellation, and secrecy of the key."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from math import ceil

import pytest

from app.backends.dialects import openai_dialect
from app.contract.completion import BackendName, Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import canonical, parse
from app.contract.rule_based_analyst import answer
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded, NotConfigured, UnparsedAnswer
from app.stand_in import Mode

from ..conftest import StandIn
from .conftest import Make, Script, http, soon, sse

BRIEF = messages(EXAMPLE, "SNPS", "brief")
DETAILS: tuple[Detail, ...] = ("brief", "full")
REFUSED = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
@pytest.mark.parametrize("detail", DETAILS)
async def test_a_whole_answer(name: BackendName, detail: Detail, make: Make, stand_in: StandIn) -> None:
    backend = make(name, stand_in.url, key=stand_in.key)
    completion = await backend.complete(messages(EXAMPLE, "SNPS", detail), detail, soon())
    assert parse(detail, completion.text) == answer(EXAMPLE, detail)
    assert completion.text == canonical(answer(EXAMPLE, detail))
    assert completion.stand_in
    assert completion.probabilities is not None
    assert max(completion.probabilities.values, key=completion.probabilities.values.__getitem__) == "buy"
    assert completion.model.startswith("stand-in/")
    usage = completion.usage
    assert 0 < usage.cached_tokens < usage.prompt_tokens
    assert usage.completion_tokens > 5
    assert not usage.estimated


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5.2", "gpt-6.1-sol", "gpt-6-luna"])
async def test_every_model_family_gets_its_options(model: str, make: Make, stand_in_of_all: StandIn) -> None:
    backend = make("gpt-4", stand_in_of_all.url, key=stand_in_of_all.key, model=model)
    completion = await backend.complete(BRIEF, "brief", soon())
    thinks = model == "gpt-6.1-sol"
    assert (completion.usage.reasoning_tokens > 0) == thinks
    assert (completion.probabilities is None) == thinks


async def test_times_are_measured_on_the_stream(make: Make, stand_in: StandIn) -> None:
    backend = make("mistral", stand_in.url)
    await backend.complete(BRIEF, "brief", soon())
    stand_in.fail("slow")
    started = time.perf_counter()
    completion = await backend.complete(BRIEF, "brief", soon())
    total = time.perf_counter() - started
    tokens = completion.usage.completion_tokens
    assert completion.time_to_first_token is not None
    assert 0.05 < completion.time_to_first_token < completion.duration <= total
    per_token = (completion.duration - completion.time_to_first_token) / (tokens - 1)
    assert per_token >= 0.05


FAILURES: list[tuple[Mode, type[BackendError], str]] = [
    ("429", BackendUnavailable, "gpt-4 limits the rate of requests"),
    ("quota", BackendUnavailable, "gpt-4 has no quota left: check the account's plan and billing"),
    ("500", BackendError, "gpt-4 failed (HTTP 500)"),
    ("503", BackendError, "gpt-4 failed (HTTP 503)"),
    ("timeout", DeadlineExceeded, "gpt-4 did not answer within 0.5 s"),
    ("slow", DeadlineExceeded, "gpt-4 did not answer within 0.5 s"),
    ("cut", BackendError, "gpt-4 sent a truncated or invalid response"),
    ("garbled", BackendError, "gpt-4 sent a truncated or invalid response"),
    ("length", UnparsedAnswer, "gpt-4's answer was cut at 5 tokens"),
    ("refusal", UnparsedAnswer, "gpt-4 declined to answer"),
    ("filtered", UnparsedAnswer, "gpt-4's answer was withheld by a content filter"),
    ("empty", UnparsedAnswer, "gpt-4 gave an empty answer"),
]


@pytest.mark.parametrize(("mode", "kind", "detail"), FAILURES, ids=[mode for mode, _, _ in FAILURES])
async def test_failures_are_distinguished_and_hold_no_key(
    mode: Mode, kind: type[BackendError], detail: str, make: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    stand_in.fail(mode, times=3)
    with pytest.raises(BackendError) as raised:
        await backend.complete(BRIEF, "brief", soon(0.5))
    assert type(raised.value) is kind
    assert raised.value.detail == detail
    output = [
        caplog.text,
        repr(backend),
        repr(vars(backend)),
        repr(raised.value),
        *traceback.format_exception(raised.value),
    ]
    assert stand_in.key not in "".join(output)


@pytest.mark.parametrize("mode", ["429", "500", "503"])
async def test_two_failures_are_retried_and_a_third_is_not(mode: Mode, make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    stand_in.fail(mode, times=2)
    assert (await backend.complete(BRIEF, "brief", soon())).text
    stand_in.fail(mode, times=3)
    with pytest.raises(BackendError):
        await backend.complete(BRIEF, "brief", soon())
    assert (await backend.complete(BRIEF, "brief", soon())).text


async def test_a_short_retry_after_is_waited_for(make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    stand_in.fail("429", retry_after=1)
    started = time.perf_counter()
    await backend.complete(BRIEF, "brief", soon())
    assert time.perf_counter() - started >= 1


async def test_a_long_retry_after_is_passed_to_the_client(make: Make, stand_in: StandIn) -> None:
    stand_in.fail("429", times=3, retry_after=30)
    started = time.perf_counter()
    with pytest.raises(BackendUnavailable) as raised:
        await make("gpt-4", stand_in.url, key=stand_in.key).complete(BRIEF, "brief", soon())
    assert raised.value.retry_after == 30
    assert time.perf_counter() - started < 1


async def test_a_wrong_key_names_the_setting_only(
    make: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = make("gpt-4", stand_in.url, key="sk-wrong-0123456789")
    for ask in (backend.complete(BRIEF, "brief", soon()), backend.check()):
        with pytest.raises(NotConfigured) as raised:
            await ask
        assert raised.value.detail == "gpt-4 does not accept the key: check OPENAI_API_KEY"
        assert "sk-wrong" not in "".join(traceback.format_exception(raised.value)) + caplog.text


async def test_an_unknown_model_names_the_settings(make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key, model="gpt-4o")
    with pytest.raises(NotConfigured, match="check CONVICTION_GPT4_MODEL and OPENAI_BASE_URL"):
        await backend.complete(BRIEF, "brief", soon())
    with pytest.raises(NotConfigured, match=r"does not serve gpt-4o: check CONVICTION_GPT4_MODEL"):
        await backend.check()


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_an_unreachable_server(name: BackendName, make: Make) -> None:
    backend = make(name, REFUSED)
    for ask in (backend.complete(BRIEF, "brief", soon()), backend.check()):
        with pytest.raises(BackendUnavailable) as raised:
            await ask
        assert raised.value.detail == f"{name} cannot be reached"
        assert raised.value.retry_after


async def test_a_connection_lost_before_the_first_byte_is_retried(make: Make, script: Script) -> None:
    server = await script(b"")
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await make("gpt-4", server.url).complete(BRIEF, "brief", soon())
    assert server.connections == 3


WHOLE = '{"choices":[{"index":0,"delta":{"content":"{}"},"finish_reason":"stop"}]}'
USED = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        (http("200 OK", "<html>hello</html>", kind="text/html"), "sent a truncated or invalid response"),
        (http("200 OK", '{"choices": []}'), "sent a truncated or invalid response"),
        (sse(), "sent a truncated or invalid response"),
        (sse("[DONE]"), "sent a truncated or invalid response"),
        (sse(USED, "[DONE]"), "sent a truncated or invalid response"),
        (sse(WHOLE, "null"), "sent a truncated or invalid response"),
        (sse(WHOLE, '"words"', USED), "sent a truncated or invalid response"),
        (
            sse(WHOLE, '{"error": {"message": "no for sk-secret-abcdefghijklmnop"}}'),
            "sent a truncated or invalid response",
        ),
        (sse(WHOLE.replace('"{}"', "7"), USED), "sent a truncated or invalid response"),
        (sse(WHOLE.replace("stop", "tool_calls"), USED), "has an unexpected finish_reason"),
        (sse(WHOLE).replace(b'content"', b'content\xff"'), "sent a truncated or invalid response"),
        (http("400 Bad Request", '{"error": {"message": "sk-secret-abcdefghijklmnop"}}'), "refused the request"),
        (http("413 Too Large", "sk-secret-abcdefghijklmnop"), "refused the request"),
    ],
)
async def test_invalid_responses(reply: bytes, detail: str, make: Make, script: Script) -> None:
    server = await script(reply)
    with pytest.raises(BackendError, match=detail) as raised:
        await make("gpt-4", server.url).complete(BRIEF, "brief", soon())
    assert "sk-secret" not in "".join(traceback.format_exception(raised.value))
    assert server.connections == 1


IMPOSSIBLE = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":18446744073709551615}}'


@pytest.mark.parametrize("usage", [None, USED.replace(":1", ":-1"), IMPOSSIBLE])
async def test_a_missing_or_impossible_usage_is_estimated(usage: str | None, make: Make, script: Script) -> None:
    server = await script(sse(WHOLE, *([usage] if usage else []), "[DONE]"))
    completion = await make("gpt-4", server.url).complete(BRIEF, "brief", soon())
    characters = sum(len(message["content"]) for message in BRIEF)
    assert completion.text == "{}"
    assert completion.usage == Usage(ceil(characters / 3), 1, estimated=True)


async def test_reasoning_that_no_usage_states_counts_in_full(make: Make, script: Script) -> None:
    server = await script(sse(WHOLE, "[DONE]"))
    completion = await make("gpt-4", server.url, model="gpt-6.1-sol").complete(BRIEF, "brief", soon())
    assert completion.usage.completion_tokens == openai_dialect("gpt-6.1-sol").reasoning_tokens + 1


@pytest.mark.parametrize("mode", ["slow", "timeout"])
async def test_cancelling_closes_the_upstream_call(mode: Mode, make: Make, stand_in: StandIn) -> None:
    backend = make("gpt-4", stand_in.url, key=stand_in.key)
    before = stand_in.tally()["abandoned"]
    stand_in.fail(mode)
    task = asyncio.create_task(backend.complete(messages(EXAMPLE, None, "full"), "full", soon()))
    await asyncio.to_thread(stand_in.wait, lambda tally: tally["open"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(stand_in.wait, lambda tally: tally["abandoned"] == before + 1 and not tally["open"])
    assert (await backend.complete(BRIEF, "brief", soon())).text

"""Forwarded chat completions: the client's body to the server, the server's bytes to the client, and no key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.backends.base import ChatStream
from app.backends.circuit_breaker import MAX_CONSECUTIVE_FAILURES
from app.backends.dialects import VLLM, openai_dialect
from app.backends.openai_compatible import OpenAICompatibleBackend
from app.contract.completion import BackendName, Usage
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded, NotConfigured

from ..conftest import StandIn
from .conftest import KEY, Make, Script, begun, dripping, events_of, http, said, silent, soon, sse, used

BRIEF = messages(EXAMPLE, "SNPS", "brief")
ANY: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Good morning."}], "n": 1}
STREAMED = ANY | {"stream": True}
WHOLE = json.dumps(
    {"choices": [{"message": {"content": "Good."}}], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
)


async def forward(
    backend: OpenAICompatibleBackend, body: Mapping[str, Any]
) -> tuple[int, Mapping[str, str], bytes, Usage | None]:
    async with backend.chat(body, soon()) as stream:
        document = b"".join([piece async for piece in stream])
        return stream.status, stream.headers, document, stream.usage


def contract_body(name: BackendName, streamed: bool) -> dict[str, Any]:
    """Return a body that the stand-in accepts, under the name that clients use."""
    body = (VLLM if name == "mistral" else openai_dialect("gpt-4.1")).request(name, BRIEF, "brief")
    del body["stream_options"]
    return body if streamed else body | {"stream": False}


def used_as(usage: str) -> bytes:
    """Return a stream of one word that reports this usage."""
    return sse('{"choices":[{"index":0,"delta":{"content":"Hi"}}]}', f'{{"choices":[],"usage":{usage}}}', "[DONE]")


async def test_a_part_of_the_usage_never_exceeds_its_whole(make: Make, script: Script) -> None:
    usage = '{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":128}}'
    server = await script(used_as(usage))
    assert (await forward(make("gpt-4", server.url), STREAMED))[3] == Usage(100, 10, 100)


@pytest.mark.parametrize("body", [ANY, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("count", ["-1", "0", "18446744073709551615", "1e999", "null", "[]"])
async def test_an_impossible_usage_is_estimated(count: str, body: Any, make: Make, script: Script) -> None:
    server = await script(used_as(f'{{"prompt_tokens":100,"completion_tokens":{count}}}'))
    usage = (await forward(make("gpt-4", server.url), body))[3]
    assert usage == Usage(5, 1, estimated=True)


async def test_a_document_with_text_and_no_completion_tokens_is_estimated(make: Make, script: Script) -> None:
    document = json.dumps(json.loads(WHOLE) | {"usage": {"prompt_tokens": 4, "completion_tokens": 0}})
    server = await script(http("200 OK", document))
    usage = (await forward(make("gpt-4", server.url), ANY))[3]
    assert usage is not None
    assert usage.estimated
    assert usage.completion_tokens > 0


async def test_an_answer_without_text_may_have_no_completion_tokens(make: Make, script: Script) -> None:
    server = await script(sse(said("", "stop"), used(7, 0), "[DONE]"))
    assert (await forward(make("gpt-4", server.url), STREAMED))[3] == Usage(7, 0)


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_a_whole_completion(name: BackendName, make: Make, stand_in: StandIn) -> None:
    backend = make(name, stand_in.url, key=stand_in.key)
    status, headers, document, usage = await forward(backend, contract_body(name, streamed=False))
    completion = json.loads(document)
    assert status == 200
    assert headers == {"Content-Type": "application/json", "X-Stand-In": "true"}
    assert completion["choices"][0]["message"]["content"] == canonical(answer(EXAMPLE, "brief"))
    assert completion["model"].endswith(fingerprint() if name == "mistral" else "gpt-4.1")
    assert usage is not None
    assert usage.completion_tokens == completion["usage"]["completion_tokens"]
    assert not usage.estimated


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_a_stream(name: BackendName, make: Make, stand_in: StandIn) -> None:
    backend = make(name, stand_in.url, key=stand_in.key)
    _, headers, document, usage = await forward(backend, contract_body(name, streamed=True))
    *lines, done = [line.removeprefix("data: ") for line in document.decode().split("\n\n") if line]
    events = [json.loads(line) for line in lines]
    assert headers["Content-Type"].startswith("text/event-stream")
    assert done == "[DONE]"
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == canonical(answer(EXAMPLE, "brief"))
    assert usage is not None
    assert usage.cached_tokens > 0
    assert not usage.estimated


async def test_the_model_and_the_streaming_alone_are_changed_in_the_body(make: Make, script: Script) -> None:
    server = await script(http("200 OK", WHOLE))
    odd = ANY | {"tools": [], "logit_bias": {"7": -100}, "seed": 12345678901234567890, "user": "é", "unheard_of": None}
    await forward(make("gpt-4", server.url), odd)
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(server.requests[0]) == odd | {"model": "gpt-4.1"} | streamed


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
        ({"stream_options": {"more": 1}}, {"include_usage": True, "more": 1}),
        ({"stream_options": "odd"}, "odd"),
    ],
)
async def test_a_stream_requests_its_usage(options: dict[str, Any], sent: object, make: Make, script: Script) -> None:
    server = await script(sse(said("x", "stop"), "[DONE]"))
    await forward(make("gpt-4", server.url), STREAMED | options)
    assert json.loads(server.requests[0])["stream_options"] == sent


CONTINUOUS = {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({}, CONTINUOUS),
        ({"stream_options": {"include_usage": False, "more": 1}}, CONTINUOUS | {"more": 1}),
        ({"stream_options": {"continuous_usage_stats": False}}, CONTINUOUS),
        ({"n": None}, CONTINUOUS),
        ({"n": 2}, {"include_usage": True}),
    ],
)
async def test_vllm_is_asked_for_continuous_usage(
    more: dict[str, Any], sent: object, make: Make, script: Script
) -> None:
    server = await script(sse(said("x", "stop"), "[DONE]"))
    await forward(make("mistral", server.url, model="m"), STREAMED | more)
    assert json.loads(server.requests[0])["stream_options"] == sent


@pytest.mark.parametrize("options", [{}, {"include_usage": True}, {"continuous_usage_stats": True}, CONTINUOUS])
async def test_a_stream_from_vllm_has_the_requested_usage(
    options: dict[str, bool], make: Make, stand_in: StandIn
) -> None:
    body = contract_body("mistral", streamed=True) | {"stream_options": options}
    _, _, document, usage = await forward(make("mistral", stand_in.url), body)
    events = [json.loads(line) for line in document.decode().replace("data: ", "").split("\n\n")[:-2]]
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"]) == canonical(
        answer(EXAMPLE, "brief")
    )
    requested = options.get("include_usage", False)
    assert [bool(event["choices"]) for event in events].count(False) == requested
    for event in events:
        assert bool(event.get("usage")) == (options == CONTINUOUS if event["choices"] else requested)
    assert usage is not None
    assert not usage.estimated


async def test_a_cancelled_stream_from_vllm_is_billed_by_its_usage(make: Make, stand_in: StandIn) -> None:
    stand_in.fail("slow")
    body = contract_body("mistral", streamed=True)
    text, events = "", 0
    async with make("mistral", stand_in.url).chat(body, soon()) as stream:
        async for piece in stream:
            parsed = [json.loads(line.removeprefix("data: ")) for line in piece.decode().split("\n\n") if line]
            text += "".join(event["choices"][0]["delta"]["content"] for event in parsed)
            events += sum(bool(event["choices"][0]["delta"]["content"]) for event in parsed)
            assert all("usage" not in event for event in parsed)
            if events >= 3:
                break
    assert stream.usage is not None
    assert not stream.usage.estimated
    assert stream.usage.completion_tokens == events
    whole = (await forward(make("mistral", stand_in.url), body))[3]
    assert whole is not None
    assert stream.usage.prompt_tokens == whole.prompt_tokens
    assert stream.usage.completion_tokens < whole.completion_tokens


@pytest.mark.parametrize("requested", [False, True])
async def test_all_bytes_but_an_unrequested_usage_are_forwarded(requested: bool, make: Make, script: Script) -> None:
    odd = '{"choices" : [{"delta":{"content":"\\u00e9"}}], "unheard_of":1.0}'
    server = await script(sse(said("x"), odd, used(4, 2), "[DONE]"))
    body = STREAMED | {"stream_options": {"include_usage": requested}}
    status, _, document, usage = await forward(make("gpt-4", server.url), body)
    last = [used(4, 2)] if requested else []
    assert (status, document) == (200, events_of(said("x"), odd, *last, "[DONE]").encode())
    assert usage == Usage(4, 2)


async def test_a_document_is_forwarded_unchanged(make: Make, script: Script) -> None:
    server = await script(http("200 OK", "  " + WHOLE + "\n", "x-secret: 1", "set-cookie: a=b"))
    status, headers, document, usage = await forward(make("gpt-4", server.url), ANY)
    assert (status, document, usage) == (200, f"  {WHOLE}\n".encode(), Usage(4, 2))
    assert headers == {"Content-Type": "application/json"}


async def test_the_last_piece_is_marked_as_the_end(make: Make, script: Script) -> None:
    server = await script(sse(said("x"), used(4, 2), "[DONE]"))
    async with make("gpt-4", server.url).chat(STREAMED, soon()) as stream:
        given = [(piece, stream.ended) async for piece in stream]
    assert given == [(events_of(said("x")).encode(), False), (events_of("[DONE]").encode(), True)]


async def test_an_event_is_forwarded_on_arrival(make: Make, script: Script) -> None:
    server = await script(dripping(begun(said("a"), said("b")), pause_s=0.3, size=len(begun(said("a")))))
    async with make("gpt-4", server.url).chat(STREAMED, soon()) as stream:
        assert await anext(stream) == events_of(said("a")).encode()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", ["400 Bad Request", "413 Too Large", "422 No"])
async def test_a_refusal_is_forwarded_without_the_key(status: str, streamed: bool, make: Make, script: Script) -> None:
    error = {"message": f"no for {KEY}", "type": "invalid_request_error", "param": "n", "code": None}
    server = await script(http(status, json.dumps({"error": error})))
    got, headers, document, usage = await forward(make("gpt-4", server.url), STREAMED if streamed else ANY)
    assert (got, headers, usage) == (int(status[:3]), {"Content-Type": "application/json"}, None)
    assert json.loads(document)["error"] == error | {"message": "no for ***"}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (http("401 No", f'{{"error":{{"message":"{KEY}"}}}}'), NotConfigured),
        (http("403 No", "{}"), NotConfigured),
        (http("404 No", "{}"), NotConfigured),
        (http("429 No", "{}", "retry-after: 30"), BackendUnavailable),
        (http("302 Elsewhere", "", "location: http://127.0.0.1:9/"), BackendError),
        (http("500 Oh", "{}"), BackendError),
        (b"", BackendUnavailable),
    ],
)
async def test_refusals_of_the_gateway_are_errors(
    reply: bytes, kind: type[BackendError], make: Make, script: Script
) -> None:
    server = await script(reply)
    stream = make("gpt-4", server.url).chat(STREAMED, soon())
    with pytest.raises(kind) as raised:
        async with stream:
            pass
    assert type(raised.value) is kind
    assert KEY not in str(raised.value)


async def test_a_role_is_no_first_token(make: Make, script: Script) -> None:
    """A server that sends the role alone times out like one that sends nothing."""
    role = json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    mute = await script(dripping(begun(role), size=1000))
    with pytest.raises(DeadlineExceeded, match=r"sent no token within 0.2 s"):
        await forward(make("gpt-4", mute.url, first_token_s=0.2), STREAMED)


async def test_an_answer_without_text_is_forwarded(make: Make, script: Script) -> None:
    server = await script(sse(said("", "stop"), "[DONE]"))
    assert (await forward(make("gpt-4", server.url), STREAMED))[2] == events_of(said("", "stop"), "[DONE]").encode()


async def test_an_unstreamed_call_has_no_first_token_limit(make: Make, script: Script) -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(http("200 OK", WHOLE))

    server = await script(late)
    assert (await forward(make("gpt-4", server.url, first_token_s=0.1), ANY))[0] == 200


@pytest.mark.parametrize(
    "reply", [begun(said("a")), b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"]
)
async def test_a_truncated_response_is_an_error_and_counted(reply: bytes, make: Make, script: Script) -> None:
    server = await script(reply)
    backend = make("gpt-4", server.url)
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        stream = backend.chat(STREAMED, soon())
        with pytest.raises(BackendError, match="sent a truncated or invalid response"):
            async with stream:
                async for _ in stream:
                    pass
        assert stream.usage is not None
        assert stream.usage.estimated
    assert backend.breaker == "open"


async def test_a_cancelled_stream_is_closed_and_estimated(make: Make, script: Script) -> None:
    server = await script(dripping(begun(*[said("a")] * 500), size=200))
    async with make("gpt-4", server.url).chat(STREAMED, soon()) as stream:
        await anext(stream)
        await anext(stream)
    async with asyncio.timeout(1):
        await server.left.wait()
    assert stream.usage is not None
    assert stream.usage.estimated
    assert stream.usage.prompt_tokens == 5
    assert stream.usage.completion_tokens >= 1


async def test_a_call_cancelled_before_its_start_is_closed(make: Make, script: Script) -> None:
    mute = await script(silent)
    stream = make("gpt-4", mute.url).chat(ANY, soon())

    async def enter() -> None:
        async with stream:
            pass

    task = asyncio.create_task(enter())
    await mute.asked.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1):
        await mute.left.wait()


# A document from a stream


def bodies_of(*deltas: dict[str, Any], **more: Any) -> list[str]:
    """Return an event for each delta, of the choice 0 unless it names another."""
    event = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "service_tier": "default"}
    choices = [{"index": delta.pop("at", 0), "delta": delta, "finish_reason": None} for delta in deltas]
    return [json.dumps(event | {"choices": [choice | more]}) for choice in choices]


async def test_an_unstreamed_completion_is_assembled_from_a_stream(make: Make, script: Script) -> None:
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    events = bodies_of(
        {"role": "assistant", "content": ""},
        {"content": "Good "},
        {"content": "Second.", "at": 1},
        {"content": "morning."},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    )
    events += bodies_of({}, logprobs={"content": [{"token": "x", "logprob": -1.0}]}, finish_reason="stop")
    server = await script(sse(*events, used(9, 4), "[DONE]"))
    status, headers, document, usage = await forward(make("gpt-4", server.url), ANY | {"n": 2})
    assert (status, headers, usage) == (200, {"Content-Type": "application/json"}, Usage(9, 4))
    whole = json.loads(document)
    assert {name: whole[name] for name in ("id", "object", "created", "model", "service_tier")} == {
        **{"id": "c1", "object": "chat.completion", "created": 7, "model": "m", "service_tier": "default"}
    }
    assert whole["usage"]["completion_tokens"] == 4
    first, second = whole["choices"]
    assert first["message"] == {
        "role": "assistant",
        "content": "Good morning.",
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }
    assert (first["finish_reason"], first["logprobs"]["content"][0]["token"]) == ("stop", "x")
    assert (second["index"], second["message"]["content"]) == (1, "Second.")


@pytest.mark.parametrize("name", ["mistral", "gpt-4"])
async def test_an_unstreamed_completion_that_is_cancelled_is_billed_for_what_was_sent(
    name: BackendName, make: Make, stand_in: StandIn
) -> None:
    stand_in.fail("slow")
    before = stand_in.tally()["completion_tokens"]
    async with make(name, stand_in.url, key=stand_in.key).chat(contract_body(name, streamed=False), soon()) as stream:
        reading = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.5)
        reading.cancel()
        await asyncio.wait((reading,))
    await asyncio.to_thread(stand_in.wait, lambda tally: not tally["open"], seconds=20)
    served = stand_in.tally()["completion_tokens"] - before
    assert stream.usage is not None
    assert 3 <= stream.usage.completion_tokens <= served <= stream.usage.completion_tokens + 3


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "reply",
    [
        sse('{"error": {"message": "overloaded", "code": 500}}', "[DONE]"),
        sse("[DONE]"),
        sse("[1]", "[DONE]"),
        http("200 OK", "<html>Bad gateway</html>", kind="text/html"),
        http("200 OK", "", kind="text/event-stream"),
        sse('{"choices": []}', "[DONE]"),
        http("200 OK", '{"error": {"message": "overloaded", "code": 500}}'),
        http("200 OK", "<html>Bad gateway</html>"),
        http("200 OK", "null"),
        http("200 OK", "{}"),
        http("200 OK", '{"choices": []}'),
        http("200 OK", ""),
        http("204 Nothing", ""),
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
    ],
)
async def test_no_completion_with_status_200_is_an_error_that_counts_and_costs_nothing(
    reply: bytes, streamed: bool, make: Make, script: Script
) -> None:
    server = await script(reply)
    backend = make("gpt-4", server.url)
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        stream = await failed_stream(backend, streamed)
        assert stream.usage is None
    assert backend.breaker == ("closed" if reply.startswith(b"HTTP/1.1 204") else "open")


async def failed_stream(backend: OpenAICompatibleBackend, streamed: bool) -> ChatStream:
    """Read a chat to its error and return its stream."""
    stream = backend.chat(STREAMED if streamed else ANY, soon())
    with pytest.raises(BackendError):
        async with stream:
            async for _ in stream:
                pass
    return stream


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_error_after_text_ends_the_answer_and_is_estimated(streamed: bool, make: Make, script: Script) -> None:
    server = await script(sse(said("a"), '{"error": {"message": "out of memory"}}', "[DONE]"))
    backend = make("gpt-4", server.url)
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        stream = await failed_stream(backend, streamed)
        assert stream.usage is not None
        assert stream.usage.completion_tokens == 1
        assert stream.usage.estimated
    assert backend.breaker == "open"


async def test_a_body_that_the_server_fails_on_is_not_held_against_the_server(make: Make, script: Script) -> None:
    """It is not repeated either. Once another body fails, too, failures count and are retried."""
    server = await script(http("500 Oh", "{}"))
    backend = make("gpt-4", server.url)
    for _ in range(2 * MAX_CONSECUTIVE_FAILURES):
        with pytest.raises(BackendError):
            await forward(backend, ANY)
    assert (backend.breaker, server.connections) == ("closed", 2 * MAX_CONSECUTIVE_FAILURES)
    for number in range(MAX_CONSECUTIVE_FAILURES):
        with pytest.raises(BackendError):
            await forward(backend, ANY | {"seed": number})
    assert backend.breaker == "open"


async def test_an_overloaded_server_is_blamed_and_retried_whatever_the_body(make: Make, script: Script) -> None:
    server = await script(http("503 Busy", "{}"), http("503 Busy", "{}"), http("200 OK", WHOLE))
    assert (await forward(make("gpt-4", server.url), ANY))[0] == 200
    assert server.connections == 3


@pytest.mark.parametrize("kind", ["application/json; charset=\u00e9", "text/event-stream; a=\u017f", "\u00e9"])
async def test_a_media_type_that_no_header_can_hold_is_invalid(script: Script, make: Make, kind: str) -> None:
    server = await script(http("200 OK", WHOLE, kind=kind))
    with pytest.raises(BackendError, match="invalid response"):
        await forward(make("gpt-4", server.url), ANY)

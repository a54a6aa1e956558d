"""Chat completions accept the parameters with a known price and a bounded load, and name any other."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from app.api.chat_grammar import MAX_COUNTS, MAX_DEPTH, MAX_NAME_BYTES, MAX_SCHEMAS
from app.api.chat_schemas import MAX_CHOICES
from tests.doubles import PARTIAL_USAGE, USAGE, Gateway, completion, gateway, ledger

HELLO = [{"role": "user", "content": "Good morning."}]
PATH = "/v1/chat/completions"


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store) as running:
        yield running


def part(**content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [content]}]}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "look_up", **function}}]}


def schema(form: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": form}}}


ACCEPTED: list[dict[str, Any]] = [
    {"temperature": 0.5, "top_p": 1, "seed": 7, "stop": "x", "n": MAX_CHOICES, "user": "me", "service_tier": "default"},
    {"stop": ["a", "b"], "logprobs": True, "top_logprobs": 20, "logit_bias": {"17": -100}, "reasoning_effort": "low"},
    {"top_k": 50, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True, "metadata": {"a": "b"}, "seed": None},
    part(type="text", text="Hello."),
    part(type="image_url", image_url={"url": "https://example.org/a.png", "detail": "low"}),
    tool(description="d", parameters={"properties": {"a": {"type": "string"}}}) | {"tool_choice": "auto"},
    tool() | {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    {"response_format": {"type": "json_object"}},
    schema({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1500}}, "required": ["a"]}),
    {
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "17"},
        ]
    },
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"service_tier": "priority"}, "service_tier"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"service_tier": "auto"}, "service_tier"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"store": True}, "store"),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
    (part(type="input_audio", input_audio={"data": "", "format": "wav"}), "messages.0.content.0"),
    (part(type="file", file={"file_id": "f"}), "messages.0.content.0"),
    (part(type="image_url", image_url={"url": "https://a/b.png", "detail": "original"}), "messages.0.content.0"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0"),
    ({"tools": [{"type": "web_search"}]}, "tools.0"),
    ({"guided_grammar": "root ::= x"}, "guided_grammar"),
    ({"structured_outputs": {"regex": "a*"}}, "structured_outputs"),
    ({"response_format": {"type": "structural_tag"}}, "response_format"),
    ({"top_k": 1e30}, "top_k"),
    ({"top_k": 10**30}, "top_k"),
    ({"n": MAX_CHOICES + 1}, "n"),
    ({"best_of": 20}, "best_of"),
    ({"use_beam_search": True}, "use_beam_search"),
    ({"prompt_logprobs": 20}, "prompt_logprobs"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"stop": ["x"] * 5}, "stop"),
    ({"stop": "x" * 257}, "stop"),
    ({"logit_bias": {"one": 1}}, "logit_bias.one"),
    ({"logit_bias": {str(number): 1 for number in range(301)}}, "logit_bias"),
    ({"priority": -1}, "priority"),
    ({"kv_transfer_params": {}}, "kv_transfer_params"),
    ({"temperature": 2.5}, "temperature"),
    ({"seed": 2**63}, "seed"),
    ({"messages": [5] * 100_000}, "messages.0"),
    ({"messages": HELLO * 2049}, "messages"),
    ({"messages": [{"role": "owner", "content": "x"}]}, "messages.0.role"),
]


@pytest.mark.parametrize("more", ACCEPTED)
@pytest.mark.parametrize("model", ["mistral", "gpt-4"])
async def test_known_parameters_are_sent_as_they_are(running: Gateway, model: str, more: dict[str, Any]) -> None:
    body = {"model": model, "messages": HELLO} | more
    response = await running.client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    assert running.backends[model].chats == [body]  # type: ignore[index]


@pytest.mark.parametrize(("more", "param"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
async def test_any_other_parameter_is_named(running: Gateway, more: dict[str, Any], param: str) -> None:
    began = time.perf_counter()
    response = await running.client.post(PATH, json={"model": "gpt-4", "messages": HELLO} | more)
    assert time.perf_counter() - began < 1
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert error["param"].startswith(param)
    assert param.split(".", maxsplit=1)[0] in error["message"]
    assert running.backends["gpt-4"].chats == []


def deep(levels: int) -> dict[str, Any]:
    return {"type": "array", "items": deep(levels - 1)} if levels else {"type": "string"}


LARGE: list[dict[str, Any]] = [
    {"type": "string", "pattern": "(a|b)*a(a|b){20}"},
    {"patternProperties": {"a*": {}}},
    {"not": {"type": "string"}},
    {"allOf": [{}, {}]},
    {"type": "string", "maxLength": MAX_COUNTS + 1},
    {"type": "string", "maxLength": 1e30},
    {"type": "array", "minItems": MAX_COUNTS // 2, "maxItems": MAX_COUNTS, "items": {}},
    {"enum": ["x" * MAX_NAME_BYTES]},
    {"maximum": 10**MAX_NAME_BYTES},
    {"properties": {f"name{number}": {} for number in range(MAX_SCHEMAS)}},
    {"properties": {"x" * (MAX_NAME_BYTES + 1): {}}},
    {"anyOf": [{}] * MAX_SCHEMAS},
    deep(MAX_DEPTH),
]


@pytest.mark.parametrize("form", LARGE)
async def test_a_schema_that_vllm_would_compile_for_long_is_refused_for_mistral(
    running: Gateway, form: dict[str, Any]
) -> None:
    for more, param in ((schema(form), "response_format"), (tool(parameters=form), "tools.0")):
        body = {"model": "mistral", "messages": HELLO} | more
        response = await running.client.post(PATH, json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (422, param)
        assert running.mistral.chats == []
        assert (await running.client.post(PATH, json=body | {"model": "gpt-4"})).status_code == 200


async def test_long_descriptions_of_tools_are_no_grammar(running: Gateway) -> None:
    body = {"model": "mistral", "messages": HELLO} | tool(parameters={"description": "x" * 200_000})
    assert (await running.client.post(PATH, json=body)).status_code == 200


# Slow readers


@pytest.mark.parametrize(("characters", "whole"), [(100_000, True), (700_000, False)], ids=["buffered", "cancelled"])
async def test_streams_that_nobody_reads_hold_no_slot(own_store: str, characters: int, whole: bool) -> None:
    """Every slot has a client that stops reading; the server finishes, or the call is cancelled and charged."""
    text = "x" * characters  # about 33 bytes each, in events of five characters
    async with gateway(own_store, wire=True, mistral_max_concurrency=2) as running:
        running.mistral.script = [completion(text), completion(text)]
        with ExitStack() as clients:
            for _ in range(2):
                clients.enter_context(stalled(int(running.client.base_url.port or 0)))
            async with asyncio.timeout(15):
                while len(running.mistral.chat_streams) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                response = await running.client.post(PATH, json={"model": "mistral", "messages": HELLO})
        assert response.status_code == 200
        used = [chat.usage for chat in running.mistral.chat_streams[:2]]
        assert used == [USAGE if whole else PARTIAL_USAGE] * 2
        booked = await ledger(running, "mistral")
        assert booked["output_tokens"] == sum(each.completion_tokens for each in (*used, USAGE) if each)


def stalled(port: int) -> socket.socket:
    """Request a stream and read nothing."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    body = json.dumps({"model": "mistral", "messages": HELLO, "stream": True}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection

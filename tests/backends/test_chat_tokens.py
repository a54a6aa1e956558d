"""The reservation of a chat completion is an upper bound of its bill, and the estimate counts all that was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.chat_tokens import IMAGE_TOKENS, MAX_IMAGE_TOKENS, estimate_chat, max_usage
from app.contract.completion import Usage
from app.pricing.prices import list_price, prices

ANSWER_TOKENS = 4096
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}}
MODELS = sorted(prices().list.models)

text = st.text(max_size=40) | st.sampled_from(["word " * 500, "é" * 300, "\N{GRINNING FACE}" * 60])
parts = st.lists(st.builds(lambda value: {"type": "text", "text": value}, text) | st.just(PICTURE), max_size=4)
messages = st.lists(
    st.builds(lambda content: {"role": "user", "content": content}, text | parts), min_size=1, max_size=4
)
tool = st.builds(
    lambda name, description: {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": {"properties": {description: {}}}},
    },
    st.sampled_from(["f", "look_up"]),
    text,
)
efforts = st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh"])
limits = st.none() | st.integers(1, 10_000)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    optional = {
        "tools": draw(st.lists(tool, max_size=3)),
        "reasoning_effort": draw(efforts),
        "max_tokens": draw(limits),
        "max_completion_tokens": draw(limits),
        "n": draw(st.none() | st.integers(1, 8)),
    }
    padding = {"role": "user", "content": "x" * draw(st.sampled_from([0, 0, 0, 300_000]))}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"model": "gpt-4", "messages": [*draw(messages), padding], **given}


def rendered(body: dict[str, Any]) -> int:
    """Return the tokens of a prompt of one token per byte, its tools written with escapes, and large pictures."""
    contents = [message["content"] for message in body["messages"]]
    pieces = [part for content in contents for part in ([{"text": content}] if isinstance(content, str) else content)]
    characters = sum(len(piece.get("text", "").encode()) + 4 for piece in pieces)
    pictures = sum("image_url" in piece for piece in pieces)
    tools = len(json.dumps(body["tools"])) + 100 if body.get("tools") else 0
    return characters + tools + pictures * 10_000


@given(bodies(), st.sampled_from(MODELS), st.data())
def test_no_possible_usage_costs_more_than_reserved(body: dict[str, Any], model: str, data: st.DataObject) -> None:
    price = list_price(model)
    most = max_usage(body, ANSWER_TOKENS, price.reasons)
    reasoning = {"none": 0, "low": 8_000, "minimal": 8_000, "medium": 32_000, None: 32_000}
    thought = reasoning.get(body.get("reasoning_effort"), 64_000) if price.reasons else 0
    visible = max(body.get("max_tokens") or 0, body.get("max_completion_tokens") or 0) or ANSWER_TOKENS
    prompt = data.draw(st.integers(0, rendered(body)) | st.just(rendered(body)))
    completion = data.draw(st.integers(0, body.get("n", 1) * (visible + thought)))
    cached = data.draw(st.integers(0, prompt))
    used = Usage(prompt, completion, cached_tokens=cached)
    assert prompt + completion <= most.prompt_tokens + most.completion_tokens
    assert price.cost(used).nano_usd <= price.cost(most).nano_usd
    estimated = estimate_chat(body, 0)
    assert estimated.prompt_tokens <= most.prompt_tokens


@given(st.sampled_from(MODELS), st.integers(0, 600_000), st.integers(0, 600_000), st.integers(0, 10**5))
def test_more_tokens_never_cost_less(model: str, one: int, other: int, completion: int) -> None:
    fewer, more = sorted((one, other))
    price = list_price(model)
    assert price.cost(Usage(fewer, completion)).nano_usd <= price.cost(Usage(more, completion)).nano_usd


def test_each_picture_is_reserved() -> None:
    plain: dict[str, Any] = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
    pictured = {"messages": [{"role": "user", "content": [PICTURE] * 50}]}
    more = max_usage(pictured, 10, False).prompt_tokens - max_usage(plain, 10, False).prompt_tokens
    assert more >= 50 * MAX_IMAGE_TOKENS
    assert estimate_chat(pictured, 0).prompt_tokens == 50 * IMAGE_TOKENS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f", "description": "x" * 200_000}}]),
        ("response_format", {"type": "json_schema", "json_schema": {"schema": {"description": "x" * 200_000}}}),
        ("messages", [{"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 200_000}}]}]),
        ("messages", [{"role": "assistant", "refusal": "x" * 200_000}]),
    ],
)
def test_the_estimate_counts_every_field_that_was_sent(field: str, value: object) -> None:
    estimated = estimate_chat({"messages": [], field: value}, 3)
    assert 60_000 < estimated.prompt_tokens < 70_000
    assert (estimated.completion_tokens, estimated.estimated) == (3, True)


@pytest.mark.parametrize("messages", [None, 7, "text", [None, 7], {"content": 5}, [{"content": [[]]}]])
def test_messages_of_any_shape_are_estimated(messages: object) -> None:
    assert estimate_chat({"messages": messages}, 0).prompt_tokens <= 2

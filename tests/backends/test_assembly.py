"""A completion assembled from its stream is the document that the server would have sent."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends import assembly
from app.backends.assembly import AssembledRelay

texts = st.lists(st.text(max_size=6), max_size=5)


def stream(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def assembled(sent: bytes, size: int = 1 << 20) -> dict[str, Any]:
    relay = AssembledRelay()
    for start in range(0, len(sent), size):
        assert relay.feed(sent[start : start + size]) == b""
    document: dict[str, Any] = json.loads(relay.flush())
    return document


@given(st.lists(texts, min_size=1, max_size=3), st.integers(1, 40))
def test_each_choice_has_its_whole_text(choices: list[list[str]], size: int) -> None:
    events = [
        {"id": "x", "choices": [{"index": index, "delta": {"content": text}}]}
        for index, pieces in enumerate(choices)
        for text in ["", *pieces]
    ]
    whole = assembled(stream(*events), size)
    assert whole["id"] == "x"
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["".join(pieces) for pieces in choices]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "delta", "index", "tool_calls", "usage", "content"]), inner)
    ),
)


@given(st.lists(json_values, max_size=4))
def test_any_event_is_assembled_or_refused(events: list[object]) -> None:
    with suppress(ValueError):
        assembled(stream(*events))


def test_a_stream_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = AssembledRelay()
    relay.feed(stream({"choices": [{"index": 0, "delta": {}}]})[:-16])
    with pytest.raises(ValueError, match="end marker"):
        relay.flush()
    monkeypatch.setattr(assembly, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        relay.feed(b"x" * 1001)

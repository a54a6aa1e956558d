"""The accumulation of events, for any division of the text into tokens."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.accumulator import Accumulator
from app.backends.events import parse_event, strip_logprobs
from app.contract.completion import Usage
from app.contract.probabilities import Token, label_probabilities
from app.contract.recommendation import ACTIONS, FullAnswer, canonical

answers = st.builds(
    FullAnswer,
    analysis=st.text(min_size=1, max_size=60)
    | st.sampled_from(['"action":"sell"', ',"logprobs":{', ',"finish_reason":']),
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
)


def token(text: str) -> dict[str, Any]:
    """Return a token with the labels as its alternatives."""
    others = [{"token": label, "logprob": -1.0 - rank} for rank, label in enumerate(ACTIONS)]
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": others}


def event(pieces: list[str], *, separators: tuple[str, str] = (",", ":"), **more: Any) -> bytes:
    """Return one event of several tokens, with its fields in the servers' order."""
    choice = {
        "index": 0,
        "delta": {"content": "".join(pieces)},
        "logprobs": {"content": [token(piece) for piece in pieces]},
        "finish_reason": None,
    }
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **more}, separators=separators).encode()


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    ends = [0, *sorted({cut % len(text) for cut in cuts} - {0}), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def accumulate(*events: bytes) -> Accumulator:
    received = Accumulator("mistral", "m")
    for data in events:
        received.feed(b"data: " + data + b"\n\n")
    return received


@given(answers, st.lists(st.integers(0, 500), max_size=30), st.integers(1, 4))
def test_probabilities_equal_those_of_all_tokens(answer: FullAnswer, cuts: list[int], size: int) -> None:
    pieces = pieces_of(canonical(answer), cuts)
    groups = [pieces[start : start + size] for start in range(0, len(pieces), size)]
    received = accumulate(*(event(group) for group in groups))
    tokens = [Token.model_validate(token(piece)) for piece in pieces]
    assert received.text == canonical(answer)
    assert received._probabilities == label_probabilities(tokens)


@given(answers, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_removing_log_probabilities_keeps_the_text(answer: FullAnswer, separators: tuple[str, str]) -> None:
    data = event([canonical(answer)], separators=separators)
    whole = json.loads(data)["choices"][0]["delta"]["content"]
    assert parse_event(data).choices[0].delta.content == whole == canonical(answer)
    if separators == (",", ":"):
        assert b"top_logprobs" not in strip_logprobs(data)


def test_an_event_without_log_probabilities_is_unchanged() -> None:
    for data in (b'{"choices":[]}', b'{"choices":[{"finish_reason":"stop","delta":{},"logprobs":{"content":null}}]}'):
        assert strip_logprobs(data) == data


def test_usage_is_the_last_reported() -> None:
    received = accumulate(event(["a"], usage={"prompt_tokens": 7, "completion_tokens": 1}))
    assert received.usage == Usage(7, 1)
    received.feed(b"data: " + event(["b"], usage={"prompt_tokens": 7, "completion_tokens": 2}) + b"\n\n")
    assert received.usage == Usage(7, 2)
    assert received.text_events == 2


@pytest.mark.parametrize("usage", [None, 7, {"prompt_tokens": -7, "completion_tokens": 1}])
def test_a_missing_or_impossible_usage_is_none(usage: object) -> None:
    assert accumulate(event(["a"], usage=usage)).usage is None


def test_text_without_tokens_is_impossible() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 0}
    assert accumulate(event(["a"], usage=usage)).usage is None
    assert accumulate(event([], usage=usage)).usage == Usage(7, 0)


def test_nothing_counts_after_the_end() -> None:
    received = accumulate(event(["a"]), b"[DONE]", event(["b"]))
    assert (received.text, received.done) == ("a", True)

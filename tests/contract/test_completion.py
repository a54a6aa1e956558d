"""The usage that a server reports: whatever it sends, a possible usage or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.completion import MAX_TOKENS, Usage

NUMBERS = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
ANYTHING = st.recursive(
    NUMBERS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner), max_leaves=4
)
COUNTS = st.integers(0, 200) | ANYTHING
REPORTS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNTS,
        "completion_tokens": COUNTS,
        "prompt_tokens_details": ANYTHING | st.fixed_dictionaries({"cached_tokens": COUNTS}),
        "completion_tokens_details": ANYTHING | st.fixed_dictionaries({"reasoning_tokens": COUNTS}),
    },
)


def report(prompt: Any = 100, completion: Any = 10, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **details}


@given(REPORTS, st.booleans())
def test_whatever_is_reported_is_possible_or_none(document: Any, text_received: bool) -> None:
    usage = Usage.reported(document, text_received)
    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.prompt_tokens <= MAX_TOKENS
        assert 0 <= usage.reasoning_tokens <= usage.completion_tokens <= MAX_TOKENS
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens > 0 or not text_received
        assert not usage.estimated


def test_parts_are_lowered_to_their_whole() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 128}, "completion_tokens_details": {"reasoning_tokens": 11}}
    assert Usage.reported(report(**details)) == Usage(100, 10, 100, 10)


@pytest.mark.parametrize("count", [-1, 0.5, 2**64 - 1, float("inf"), float("nan"), True, "100", None, [1], {}])
def test_an_impossible_count_makes_a_usage_none_and_a_detail_zero(count: Any) -> None:
    assert Usage.reported(report(prompt=count)) is None
    assert Usage.reported(report(completion=count)) is None
    for details in (count, {"cached_tokens": count}):
        assert Usage.reported(report(prompt_tokens_details=details)) == Usage(100, 10)


def test_whole_floats_are_counts() -> None:
    assert Usage.reported(report(100.0, 10.0)) == Usage(100, 10)


@pytest.mark.parametrize("document", [None, 7, [], {}, report(prompt=0)])
def test_without_a_prompt_there_is_no_usage(document: Any) -> None:
    assert Usage.reported(document) is None

"""What each kind of server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends.dialects import VLLM, Dialect, openai_dialect
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import ANSWER_TOKENS, answer_schema

DETAILS: tuple[Detail, ...] = ("brief", "full")


def body(dialect: Dialect, detail: Detail = "full", model: str = "m") -> dict[str, Any]:
    return dialect.request(model, messages(EXAMPLE, "SNPS", detail), detail)


@pytest.mark.parametrize("detail", DETAILS)
def test_vllm_bounds_strings_in_its_grammar(detail: Detail) -> None:
    asked = body(VLLM, detail)
    assert asked["response_format"]["json_schema"]["schema"] == answer_schema(detail, bounded=True)
    assert asked["max_tokens"] == ANSWER_TOKENS[detail]
    assert "max_completion_tokens" not in asked
    assert "reasoning_effort" not in asked


@pytest.mark.parametrize("detail", DETAILS)
def test_openai_takes_no_bounds(detail: Detail) -> None:
    asked = body(openai_dialect("gpt-4.1"), detail)
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "recommendation", "strict": True, "schema": answer_schema(detail, bounded=False)},
    }
    assert asked["max_completion_tokens"] == ANSWER_TOKENS[detail]
    assert "max_tokens" not in asked


@pytest.mark.parametrize("dialect", [VLLM, openai_dialect("gpt-4.1"), openai_dialect("gpt-6-luna")])
def test_what_can_be_is_asked_at_temperature_zero_with_alternatives(dialect: Dialect) -> None:
    asked = body(dialect)
    assert (asked["temperature"], asked["logprobs"], asked["top_logprobs"]) == (0, True, 20)
    assert asked["stream"] is True
    assert asked["stream_options"]["include_usage"] is True
    assert [message["role"] for message in asked["messages"]] == ["user"]


def test_only_vllm_is_asked_to_tell_tokens_as_it_writes() -> None:
    assert body(VLLM)["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body(openai_dialect("gpt-4.1"))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-5.6-sol", "gpt-6.1-terra", "gpt-6-luna"])
def test_reasoning_is_off_where_it_can_be(model: str) -> None:
    assert body(openai_dialect(model))["reasoning_effort"] == "none"


@pytest.mark.parametrize("model", ["gpt-6.1-sol", "gpt-6-astra"])
def test_where_it_cannot_it_has_room_and_no_temperature(model: str) -> None:
    asked = body(openai_dialect(model))
    assert asked["reasoning_effort"] == "low"
    assert asked["max_completion_tokens"] > 5000
    assert not {"temperature", "logprobs", "top_logprobs", "seed"} & set(asked)

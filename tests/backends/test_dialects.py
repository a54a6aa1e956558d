"""The request options of each kind of server."""

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
    sent = body(VLLM, detail)
    assert sent["response_format"]["json_schema"]["schema"] == answer_schema(detail, bounded=True)
    assert sent["max_tokens"] == ANSWER_TOKENS[detail]
    assert "max_completion_tokens" not in sent
    assert "reasoning_effort" not in sent


@pytest.mark.parametrize("detail", DETAILS)
def test_openai_accepts_no_bounds(detail: Detail) -> None:
    sent = body(openai_dialect("gpt-4.1"), detail)
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "recommendation", "strict": True, "schema": answer_schema(detail, bounded=False)},
    }
    assert sent["max_completion_tokens"] == ANSWER_TOKENS[detail]
    assert "max_tokens" not in sent


@pytest.mark.parametrize("dialect", [VLLM, openai_dialect("gpt-4.1"), openai_dialect("gpt-6-luna")])
def test_sampled_models_get_temperature_zero_and_logprobs(dialect: Dialect) -> None:
    sent = body(dialect)
    assert (sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (0, True, 20)
    assert sent["stream"] is True
    assert sent["stream_options"]["include_usage"] is True
    assert [message["role"] for message in sent["messages"]] == ["user"]


def test_only_vllm_reports_usage_continuously() -> None:
    assert body(VLLM)["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body(openai_dialect("gpt-4.1"))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-5.6-sol", "gpt-6.1-terra", "gpt-6-luna"])
def test_reasoning_is_off_where_possible(model: str) -> None:
    assert body(openai_dialect(model))["reasoning_effort"] == "none"


@pytest.mark.parametrize("model", ["gpt-6.1-sol", "gpt-6-astra"])
def test_reasoning_models_get_tokens_and_no_temperature(model: str) -> None:
    sent = body(openai_dialect(model))
    assert sent["reasoning_effort"] == "low"
    assert sent["max_completion_tokens"] > 5000
    assert not {"temperature", "logprobs", "top_logprobs", "seed"} & set(sent)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.dialects import openai_dialect
from app.contract.prompt import Detail
from app.contract.recommendation import ANSWER_TOKENS, response_format
from app.errors import NotConfigured
from app.pricing.prices import prices
from training.labeling.tariff import Tariff, answer_limit, body

from .conftest import question

TOKENS = st.integers(0, 100_000)


def test_tokens_at_list_price() -> None:
    assert Tariff.of("gpt-4.1", batch=False).nano_usd(1000, 100, 400) == 600 * 2000 + 400 * 500 + 100 * 8000
    assert Tariff.of("gpt-4.1", batch=True).nano_usd(1000, 100, 400) == 1_100_000


@given(st.sampled_from(sorted(prices().list.models)), TOKENS, TOKENS, TOKENS)
def test_a_batch_costs_half_and_never_less(model: str, prompt: int, completion: int, cached: int) -> None:
    whole = Tariff.of(model, batch=False).nano_usd(prompt, completion, cached)
    assert 0 <= 2 * Tariff.of(model, batch=True).nano_usd(prompt, completion, cached) - whole <= 1


def test_a_model_without_a_price_is_refused() -> None:
    with pytest.raises(NotConfigured, match="gpt-99"):
        Tariff.of("gpt-99", batch=False)


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-6.1-sol", "gpt-6.1-terra"])
@pytest.mark.parametrize("detail", ["brief", "full"])
def test_the_body_is_the_gateways_with_fewer_alternatives(model: str, detail: Detail) -> None:
    prompt = question(detail=detail).prompt
    served = openai_dialect(model).request(model, prompt.messages, detail)
    del served["stream"], served["stream_options"]
    if "logprobs" in served:
        served["top_logprobs"] = 5
    assert body(model, prompt) == served
    assert served["response_format"] == response_format(detail, bounded=False)
    assert served.get("temperature", 0) == 0
    assert served["max_completion_tokens"] == answer_limit(model, prompt) >= ANSWER_TOKENS[detail]
    batched = body(model, prompt, batch=True)
    if detail == "full":
        served = {name: value for name, value in served.items() if "logprobs" not in name}
    assert batched == served

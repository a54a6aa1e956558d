from __future__ import annotations

import json
from math import log
from typing import Any

import pytest

from app.contract.fingerprint import EXAMPLE
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from training.labeling.answers import parse_completion
from training.labeling.tariff import Tariff

from .conftest import question

TARIFF = Tariff.of("gpt-4.1", batch=False)
FULL = canonical(answer(EXAMPLE, "full"))


def completion(
    text: str | None = FULL, finish: str = "stop", refusal: str | None = None, **more: Any
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": 500,
            "completion_tokens": 100,
            "total_tokens": 600,
            "prompt_tokens_details": {"cached_tokens": 200},
        },
        **more,
    }


def read(document: Any) -> Any:
    return parse_completion("call", question(detail="full").key, document, TARIFF, at_most=999)


def test_an_answer_becomes_a_label_with_its_model_and_cost() -> None:
    label = read(completion(FULL.replace('","', '", "')))
    assert (label.answer, label.failure, label.model) == (FULL, None, "gpt-4.1-2025-04-14")
    assert (label.prompt_tokens, label.completion_tokens, label.cached_tokens) == (500, 100, 200)
    assert label.nano_usd == 300 * 2000 + 200 * 500 + 100 * 8000


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (completion(None, refusal="I cannot help with that."), "refusal"),
        (completion(FULL, finish="length"), "length"),
        (completion(None, finish="content_filter"), "content_filter"),
        (completion(FULL[:-1]), "unparsed answer"),
        (completion(""), "unparsed answer"),
        (completion(None), "unparsed answer"),
        (completion('{"action":"hold","conviction":5}'), "unparsed answer"),
        (completion(FULL.replace('"conviction":', '"conviction":9')), "unparsed answer"),
    ],
)
def test_what_is_no_answer_is_a_failure_and_is_paid_for(document: dict[str, Any], reason: str) -> None:
    failed = read(document)
    assert failed.answer is None
    assert failed.failure.startswith(reason)
    assert failed.nano_usd == 1_500_000


@pytest.mark.parametrize("document", [None, {}, completion() | {"choices": []}, [1], completion() | {"model": None}])
def test_what_cannot_be_read_counts_at_its_dearest(document: Any) -> None:
    failed = read(document)
    assert (failed.answer, failed.failure, failed.nano_usd) == (None, "malformed response", 999)


def test_an_answer_that_does_not_say_what_it_took_counts_at_its_dearest() -> None:
    label = read(completion(usage=None))
    assert (label.answer, label.nano_usd) == (FULL, 999)


def test_stated_probabilities_become_soft_labels() -> None:
    def token(text: str, **others: float) -> dict[str, Any]:
        top = [{"token": other, "logprob": log(share), "bytes": None} for other, share in others.items()]
        return {"token": text, "logprob": log(others.get(text, 1.0)), "bytes": None, "top_logprobs": top}

    document = completion()
    text = FULL[: FULL.index("buy")]
    content = [token(text), token("buy", buy=0.8, hold=0.2), token('","conviction":'), token("5", **{"5": 1.0})]
    document["choices"][0]["logprobs"] = {"content": content, "refusal": None}
    assert json.loads(read(document).soft) == {"action": {"buy": 0.8, "hold": 0.2}, "conviction": {"5": 1.0}}
    assert read(completion()).soft is None

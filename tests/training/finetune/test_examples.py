"""Runs in the training environment: training tokens equal the served ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")

from app.contract import rule_based_analyst as rules  # noqa: E402
from app.contract.fingerprint import EXAMPLE  # noqa: E402
from app.contract.recommendation import canonical  # noqa: E402
from tests.training.conftest import BASE  # noqa: E402
from training.finetune.examples import TooLong, collate, encode, table  # noqa: E402

RECORDED = Path(__file__).parents[1] / "tokens.json"
"""Token ids of the worked example; the served model's /tokenize is checked against the same file."""


def row(detail: Any) -> dict[str, Any]:
    answer = canonical(rules.answer(EXAMPLE, detail))
    return {"ticker": "SNPS", "as_of": "2024-03-08", "detail": detail, "metrics": EXAMPLE.document(), "answer": answer}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    if not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    return transformers.AutoTokenizer.from_pretrained(BASE)


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_tokens_are_those_recorded(tokenizer: Any, detail: str) -> None:
    example = encode(row(detail), tokenizer, 1024)
    recorded = json.loads(RECORDED.read_text())[detail]
    assert {"prompt": example.prompt, "answer": example.answer} == recorded


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_the_answer_follows_the_prompt_and_ends_the_turn(tokenizer: Any, detail: str) -> None:
    example = encode(row(detail), tokenizer, 1024)
    text = tokenizer.decode([*example.prompt, *example.answer])
    assert text.endswith(f"<|im_start|>assistant\n{row(detail)['answer']}<|im_end|>")
    assert text.count("<|im_start|>system") == 1
    assert tokenizer.decode([example.answer[example.action]]) == "buy"


def test_what_does_not_fit_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(TooLong, match=r"SNPS 2024-03-08: [0-9]+ tokens, 100 allowed"):
        encode(row("full"), tokenizer, 100)


def test_labels_stand_where_the_next_token_is_the_answers(tokenizer: Any) -> None:
    examples = [encode(row(detail), tokenizer, 1024) for detail in ("brief", "full")]
    batch = collate([*table(examples)], pad=0)
    for index, example in enumerate(examples):
        labels = batch["labels"][index]
        assert labels[labels != -100].tolist() == example.answer
        first = int((labels != -100).nonzero()[0])
        assert batch["input_ids"][index, : first + 1].tolist() == example.prompt
        assert int(labels[batch["action_position"][index]]) == example.answer[example.action]
    assert batch["logit_positions"].tolist() == sorted(set(batch["logit_positions"].tolist()))

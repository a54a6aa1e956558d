"""Runs in the training environment: the weights, soft targets and steps of real pairs, in the base's tokens."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")

from app.contract import rule_based_analyst as rules  # noqa: E402
from app.contract.features import Metrics  # noqa: E402
from app.contract.fingerprint import EXAMPLE, SPARSE  # noqa: E402
from app.contract.recommendation import canonical  # noqa: E402
from tests.training.conftest import BASE  # noqa: E402
from training.finetune.examples import Example, encode  # noqa: E402
from training.finetune.supervision import label_tokens  # noqa: E402
from training.labeling.soft_labels import soft_label  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    if not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    return transformers.AutoTokenizer.from_pretrained(BASE)


def labelled(detail: Any, metrics: Metrics, **soft: Any) -> dict[str, Any]:
    answer = canonical(rules.answer(metrics, detail))
    row = {"ticker": "SNPS", "as_of": "2024-03-08", "detail": detail, "metrics": metrics.document(), "answer": answer}
    return row | ({"soft": soft} if soft else {})


def example(tokenizer: Any, detail: Any, metrics: Metrics = EXAMPLE, soft: bool = True) -> Example:
    return encode(labelled(detail, metrics, **(soft_label(metrics) if soft else {})), tokenizer, 1024)


def deciding(pair: Example) -> list[int]:
    """Return the answer's tokens that weigh more than those that the grammar forces."""
    least = min(pair.weights)
    return [token for token, weight in zip(pair.answer, pair.weights, strict=True) if weight > least * 1.001]


def test_the_decisions_weigh_most_and_no_token_nothing(tokenizer: Any) -> None:
    """A token without weight is spelled otherwise by the trained model: the grammar forces characters only."""
    brief = example(tokenizer, "brief")
    assert [tokenizer.decode([token]) for token in deciding(brief)] == ["buy", "5"]
    assert min(brief.weights) == pytest.approx(0.1 * max(brief.weights))


def test_after_a_one_the_next_token_decides(tokenizer: Any) -> None:
    metrics = Metrics.model_validate({"price": 10.0, "options": {"call_volume": 5, "call_open_interest": 3}})
    assert rules.answer(metrics, "brief").conviction == 1
    one = example(tokenizer, "brief", metrics)
    assert [tokenizer.decode([token]) for token in deciding(one)] == ["hold", "1", "}"]


def test_an_analysis_and_its_end_weigh_together(tokenizer: Any) -> None:
    full = example(tokenizer, "full")
    most, least = max(full.weights), min(full.weights)
    inside = [token for token, weight in zip(full.answer, full.weights, strict=True) if weight == least]
    action, conviction, first = (
        token for token, weight in zip(full.answer, full.weights, strict=True) if weight == most
    )
    assert [tokenizer.decode([token]) for token in (action, conviction)] == ["buy", "5"]
    analysis = rules.answer(EXAMPLE, "full").analysis  # type: ignore[union-attr]
    assert tokenizer.decode([first, *inside]).startswith(analysis)
    assert least * len(inside) == pytest.approx(8 * most)
    assert sum(full.weights) == pytest.approx(1)


def test_steps_are_at_the_ends_of_lines_and_before_the_decisions(tokenizer: Any) -> None:
    for detail in ("brief", "full"):
        pair = example(tokenizer, detail)
        ids = [*pair.prompt, *pair.answer]
        reading = [step for step in pair.steps if step.vote is not None]
        ends = [tokenizer.decode(ids[step.position + 1 : step.position + 2]) for step in reading]
        assert set(ends) == {"\n"}
        lead = sum(vote.weight for vote in rules.votes(EXAMPLE))
        assert sum(step.vote or 0 for step in reading) == reading[-1].score == lead
        deciding = [step for step in pair.steps if step.vote is None]
        assert [(tokenizer.decode([ids[step.position + 1]]), step.score) for step in deciding] == [
            ("buy", lead),
            ("5", lead),
        ]


def test_a_vote_belongs_to_its_line(tokenizer: Any) -> None:
    pair = example(tokenizer, "brief", SPARSE)
    text = tokenizer.decode(pair.prompt)
    votes = {
        text[: len(tokenizer.decode(pair.prompt[: step.position + 1]))].rpartition("\n")[2]: step.vote
        for step in pair.steps
        if step.vote is not None
    }
    assert votes == {"RSI oversold": 3, "MFI oversold": 1, "OBV selling": -2}


def test_soft_targets_are_distributions_about_the_label(tokenizer: Any) -> None:
    pair = example(tokenizer, "brief")
    for target in pair.soft:
        assert sum(target.probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert max(target.probabilities, key=lambda token: target.probabilities[token]) == pair.answer[target.index]
    assert len(pair.soft) == 2
    assert set(pair.soft[0].probabilities) <= set(label_tokens(tokenizer, "buy", "sell", "hold"))


def test_a_label_without_them_has_neither_soft_targets_nor_steps(tokenizer: Any) -> None:
    assert (example(tokenizer, "brief", soft=False).soft, example(tokenizer, "brief", soft=False).steps) == ((), ())


def test_a_label_may_have_probabilities_without_votes_and_votes_without_probabilities(tokenizer: Any) -> None:
    stated = encode(labelled("brief", EXAMPLE, action={"buy": 0.8, "hold": 0.2}), tokenizer, 1024)
    assert ([len(target.probabilities) for target in stated.soft], stated.steps) == ([2], ())
    voted = encode(labelled("brief", EXAMPLE, votes={"RSI": 3}), tokenizer, 1024)
    assert (voted.soft, voted.steps[-1].score) == ((), 3)

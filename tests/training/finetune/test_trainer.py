"""What makes training quick must not change what is learned: losses and gradients against the plain way."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import peft
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from training.finetune.examples import Example, collate, packed, parts, table
from training.finetune.step_loss import StepLoss
from training.finetune.supervision import SoftTarget, Step
from training.finetune.trainer import AnswerTrainer, answer_logits, answer_loss

WORDS = 500


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = transformers.MistralConfig(**shape, num_key_value_heads=2, vocab_size=WORDS)
    config._attn_implementation = request.param
    return transformers.MistralForCausalLM(config).eval()


def examples(beginning: int) -> list[Example]:
    """Five pairs of unlike lengths whose prompts begin alike."""
    draw = torch.Generator().manual_seed(1)

    def ids(count: int) -> list[int]:
        return [int(i) for i in torch.randint(3, WORDS, (count,), generator=draw)]

    start = ids(beginning)
    return [Example([*start, *ids(4 + 3 * n)], ids(3 + n), n, [1 / (3 + n)] * (3 + n)) for n in range(5)]


def plain(model: Any, example: Example) -> torch.Tensor:
    """The mean loss of one answer, alone, from all its logits."""
    ids = torch.tensor([[*example.prompt, *example.answer]])
    logits = model(input_ids=ids, use_cache=False).logits[0, len(example.prompt) - 1 : -1]
    return cross_entropy(logits, torch.tensor(example.answer))


def loss(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    return answer_loss(answer_logits(model, batch), batch)


def gradients(model: Any, value: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters())))


@pytest.mark.parametrize("beginning", [0, 1, 12])
def test_a_shared_prefix_is_computed_once_and_changes_nothing(model: Any, beginning: int) -> None:
    pairs = examples(beginning)
    batch = collate([*table(pairs)], pad=0)
    assert batch["shared_prefix"] == beginning
    expected = torch.stack([plain(model, pair) for pair in pairs]).mean()
    value = loss(model, batch)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(gradients(model, value), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def recomputing(model: Any) -> Any:
    """A copy of the model that recomputes its activations, in training."""
    copied = copy.deepcopy(model).train()
    copied.gradient_checkpointing_enable()
    return copied


@pytest.mark.parametrize("beginning", [0, 12])
def test_recomputed_activations_change_nothing(model: Any, beginning: int) -> None:
    """The layers would drop the shared prefix's cache, with a warning."""
    batch, other = collate([*table(examples(beginning))], pad=0), recomputing(model)
    expected, value = loss(model, batch), loss(other, batch)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(gradients(other, value), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_padding_of_any_token_gives_the_same_loss(model: Any) -> None:
    rows = [*table(examples(6))]
    losses = [loss(model, collate(rows, pad)).item() for pad in (0, 2, WORDS - 1)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_the_shared_prefix_ends_before_the_first_label(model: Any) -> None:
    pair = examples(12)[0]
    batch = collate([*table([pair, pair])], pad=0)
    assert batch["shared_prefix"] == len(pair.prompt) - 1
    assert loss(model, batch).item() == pytest.approx(plain(model, pair).item(), rel=1e-5)


@pytest.mark.parametrize("tokens", [1, 40, 100])
def test_parts_of_a_batch_add_up_to_its_gradients(model: Any, tokens: int) -> None:
    pairs = [
        replace(pair, soft=(SoftTarget(1, {7: 0.75, 9: 0.25}),), steps=(Step(len(pair.prompt) - 2, 2, 2, 1.0),))
        for pair in examples(6)
    ]
    batch = collate([*table(pairs)], pad=0)
    divided = parts(batch, tokens)
    assert len(divided) == -(-len(pairs) // max(1, tokens // batch["input_ids"].shape[1]))
    assert [int(step[1]) for part in divided for step in part["scores"]] == [len(pair.prompt) - 2 for pair in pairs]
    expected, value = loss(model, batch), sum(loss(model, part) * part["share"] for part in divided)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(gradients(model, value), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_packed_pairs_do_not_see_each_other(model: Any) -> None:
    pairs = examples(6)
    rows = [*packed(pairs, 64)]
    assert len(rows) < len(pairs)
    assert sorted(n for row in rows for n in row["seq_lengths"]) == sorted(len(p.prompt + p.answer) for p in pairs)
    expected = torch.stack([plain(model, pair) for pair in pairs]).mean()
    value = loss(model, collate(rows, pad=0))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(gradients(model, value), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_a_soft_target_at_one_token_is_that_label(model: Any) -> None:
    pairs = examples(6)
    soft = [replace(pair, soft=(SoftTarget(1, {pair.answer[1]: 1.0}),)) for pair in pairs]
    hard, same = (collate([*table(of)], pad=0) for of in (pairs, soft))
    expected, value = (answer_loss(answer_logits(model, batch), batch).item() for batch in (hard, same))
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_soft_target_is_least_at_its_distribution(model: Any) -> None:
    batch = collate([*table([replace(examples(6)[0], soft=(SoftTarget(0, {7: 0.75, 9: 0.25}),))])], pad=0)
    batch["weights"].zero_()
    logits = torch.full((1, len(batch["logit_positions"]), WORDS), -30.0)
    for share in (0.5, 0.75, 0.9):
        logits[0, 0, 7], logits[0, 0, 9] = torch.tensor([share, 1 - share]).log()
        loss_at = answer_loss(logits, batch).item()
        expected = -(0.75 * torch.tensor(share).log() + 0.25 * torch.tensor(1 - share).log()).item()
        assert loss_at == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("beginning", [0, 12])
def test_the_step_loss_is_that_of_each_pair_alone(model: Any, beginning: int) -> None:
    """Whatever the batch's shared prefix: a layer's output at a step does not depend on the other rows."""
    pairs = [
        replace(pair, steps=(Step(len(pair.prompt) - 2, 2, 2, 1.0), Step(len(pair.prompt), None, 2, 1.0)))
        for pair in examples(beginning)
    ]
    wrapped = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    step_loss = StepLoss(wrapped, buy=5, sell=6)

    def of(*rows: Example) -> torch.Tensor:
        batch = collate([*table(rows)], pad=0)
        answer_logits(wrapped, batch)
        return step_loss(batch)

    alone = torch.stack([of(pair) for pair in pairs])
    together = of(*pairs)
    assert together.item() == pytest.approx(alone.mean().item(), rel=1e-5)
    together.backward()
    expected = [weight.grad.clone() for weight in wrapped.parameters() if weight.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in expected)

    wrapped.zero_grad()
    wrapped.train().enable_input_require_grads()
    wrapped.gradient_checkpointing_enable()
    recomputed = of(*pairs)
    assert recomputed.item() == pytest.approx(together.item(), rel=1e-5)
    recomputed.backward()
    found = [weight.grad for weight in wrapped.parameters() if weight.grad is not None]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_labels_without_votes_add_no_step_loss(model: Any) -> None:
    """A paid teacher's labels state no votes; the loss stays the answers'."""
    wrapped = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=2, target_modules=["q_proj"])).train()
    batch = collate([*table(examples(6))], pad=0)
    trainer = AnswerTrainer.__new__(AnswerTrainer)
    trainer._step_loss = StepLoss(wrapped, buy=5, sell=6)
    assert trainer.compute_loss(wrapped, batch).item() == pytest.approx(loss(wrapped, batch).item())

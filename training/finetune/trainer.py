"""The trainer: the answers' loss on the tokens that decide, and the loss of the votes counted while reading."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch
from transformers import DynamicCache
from trl import SFTTrainer

from training.finetune.examples import parts
from training.finetune.step_loss import StepLoss

PART_TOKENS = 2048
"""Tokens that a CPU processes at a time. Eight full pairs together take 23 s on two AVX-512 cores, in parts 15 s."""


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """Trainer that computes logits for answer tokens only, and the batch's common prompt prefix once.

    The vocabulary is a fifth of a small model's work. Both optimizations are exact under causal attention. With
    `step_loss`, batches with steps add its loss while training; validation reports the answers' loss alone.
    """

    def __init__(self, *arguments: Any, step_loss: StepLoss | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over pairs, so accumulation averages it
        self._step_loss = step_loss
        self._last_log = time.monotonic()

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Accumulate the gradients of the batch's parts, each weighted by its share of the rows."""
        batches = parts(inputs, PART_TOKENS) if inputs["input_ids"].is_cpu else [inputs]
        losses = [super(AnswerTrainer, self).training_step(model, batch, num_items_in_batch) for batch in batches]
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,  # noqa: ARG002 - the trainer passes it
    ) -> Any:
        """Return the weighted mean loss of the answers' tokens, plus the step loss."""
        logits = answer_logits(model, inputs)
        loss = answer_loss(logits, inputs)
        if self._step_loss is not None and model.training and len(inputs.get("scores", ())):
            loss = loss + self._step_loss(inputs)
        loss = loss * inputs.get("share", 1.0)
        if not return_outputs:
            return loss
        targets = inputs["labels"][:, inputs["logit_positions"]]
        action = torch.searchsorted(inputs["logit_positions"], inputs["action_position"])
        rows = torch.arange(len(targets))
        return loss, SimpleNamespace(logits=torch.stack([logits[rows, action].argmax(-1), targets[rows, action]], 1))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds trained so far to each entry, including those before an interruption."""
        now, history = time.monotonic(), self.state.log_history
        logs["seconds"] = round((history[-1]["seconds"] if history else 0.0) + now - self._last_log, 1)
        self._last_log = now
        super().log(logs, start_time)


def answer_loss(logits: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
    """Return the mean over weights of the answers' losses: cross-entropy with the labels, or with soft targets."""
    positions = inputs["logit_positions"]
    weights, targets = inputs["weights"][:, positions], inputs["labels"][:, positions]
    losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    total, weight = (losses * weights).sum(), weights.sum()
    soft = inputs.get("soft")
    if soft is not None and len(soft):
        row, position, token = soft[:, :3].long().t().contiguous()
        distributions = logits[row, torch.searchsorted(positions, position)].float().log_softmax(-1)
        shares = soft[:, 3].to(distributions.dtype)
        total = total - (shares * distributions.gather(1, token[:, None]).squeeze(1)).sum()
        weight = weight + shares.sum()
    return total / weight


def answer_logits(model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """Return logits (batch, len(logit_positions), vocabulary) at the positions that predict answers.

    The first `shared_prefix` tokens run as a batch of one; their keys and values, with gradients, serve every row.
    Layers that recompute their activations would discard these, so under checkpointing each row runs whole. In packed
    rows `position_ids` mark where a pair begins, from which transformers derives the attention mask.
    """
    ids, logit_positions = inputs["input_ids"], inputs["logit_positions"]
    shared_prefix = 0 if _recomputes(model) else inputs["shared_prefix"]
    if not shared_prefix:
        position_ids = inputs.get("position_ids")
        return model(input_ids=ids, position_ids=position_ids, logits_to_keep=logit_positions, use_cache=False).logits
    cache = DynamicCache()
    model(input_ids=ids[:1, :shared_prefix], past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(ids))
    return model(
        input_ids=ids[:, shared_prefix:], past_key_values=cache, logits_to_keep=logit_positions - shared_prefix
    ).logits


def _recomputes(model: torch.nn.Module) -> bool:
    """Return whether a layer is trained with gradient checkpointing, which drops the cache that it is given."""
    return any(layer.training and getattr(layer, "gradient_checkpointing", False) for layer in model.modules())

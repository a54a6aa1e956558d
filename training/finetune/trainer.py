"""TRL's trainer, optimized for short answers and prompts with a common prefix."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch
from transformers import DynamicCache
from trl import SFTTrainer


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """Trainer that computes logits for answer tokens only, and the batch's common prompt prefix once.

    The vocabulary is a fifth of a small model's work. Both optimizations are exact under causal attention.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over pairs, so accumulation averages it
        self._last_log = time.monotonic()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,  # noqa: ARG002 - the trainer passes it
    ) -> Any:
        """Return the mean over pairs of the mean loss over each answer's tokens."""
        logit_positions, weights = inputs["logit_positions"], inputs["weights"]
        logits, targets = answer_logits(model, inputs), inputs["labels"][:, logit_positions]
        losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        loss = (losses * weights[:, logit_positions]).sum() / weights.sum()
        if not return_outputs:
            return loss
        rows, action = torch.arange(len(targets)), torch.searchsorted(logit_positions, inputs["action_position"])
        return loss, SimpleNamespace(logits=torch.stack([logits[rows, action].argmax(-1), targets[rows, action]], 1))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds trained so far to each entry, including those before an interruption."""
        now, history = time.monotonic(), self.state.log_history
        logs["seconds"] = round((history[-1]["seconds"] if history else 0.0) + now - self._last_log, 1)
        self._last_log = now
        super().log(logs, start_time)


def answer_logits(model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """Return logits (batch, len(logit_positions), vocabulary) at the positions that predict answers.

    The first `shared_prefix` tokens run as a batch of one; their keys and values, with gradients, serve every row.
    In packed rows `position_ids` mark where a pair begins, from which transformers derives the attention mask.
    """
    ids, logit_positions, shared_prefix = inputs["input_ids"], inputs["logit_positions"], inputs["shared_prefix"]
    if not shared_prefix:
        position_ids = inputs.get("position_ids")
        return model(input_ids=ids, position_ids=position_ids, logits_to_keep=logit_positions, use_cache=False).logits
    cache = DynamicCache()
    model(input_ids=ids[:1, :shared_prefix], past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(ids))
    return model(
        input_ids=ids[:, shared_prefix:], past_key_values=cache, logits_to_keep=logit_positions - shared_prefix
    ).logits

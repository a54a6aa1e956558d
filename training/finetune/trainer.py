"""TRL's trainer, quicker by what is particular here: answers are short, and prompts begin alike."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch
from transformers import DynamicCache
from trl import SFTTrainer


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """Computes logits for the answer's tokens only (a fifth of a small model's work is its vocabulary), and what all
    prompts of a batch begin with once. Both are exact: under causal attention the beginning knows nothing of the rest.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over pairs: let steps that accumulate average it
        self._told = time.monotonic()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,  # noqa: ARG002 - the trainer passes it
    ) -> Any:
        """Mean over the pairs of the mean over each answer's tokens."""
        places, weights = inputs["places"], inputs["weights"]
        logits, targets = answer_logits(model, inputs), inputs["labels"][:, places]
        losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        loss = (losses * weights[:, places]).sum() / weights.sum()
        if not return_outputs:
            return loss
        rows, action = torch.arange(len(targets)), torch.searchsorted(places, inputs["action_at"])
        return loss, SimpleNamespace(logits=torch.stack([logits[rows, action].argmax(-1), targets[rows, action]], 1))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep with each entry the seconds trained so far, those before an interruption included."""
        now, history = time.monotonic(), self.state.log_history
        logs["seconds"] = round((history[-1]["seconds"] if history else 0.0) + now - self._told, 1)
        self._told = now
        super().log(logs, start_time)


def answer_logits(model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """Logits (batch, places, vocabulary) where answers are predicted.

    The `shared` first tokens run once, as a batch of one; their keys and values, gradients included, then serve
    every row. Packed rows say by `position_ids` where a pair begins, from which transformers masks the others.
    """
    ids, places, shared = inputs["input_ids"], inputs["places"], inputs["shared"]
    if not shared:
        position_ids = inputs.get("position_ids")
        return model(input_ids=ids, position_ids=position_ids, logits_to_keep=places, use_cache=False).logits
    cache = DynamicCache()
    model(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(ids))
    return model(input_ids=ids[:, shared:], past_key_values=cache, logits_to_keep=places - shared).logits

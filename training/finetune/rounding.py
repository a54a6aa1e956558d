"""Quantisation-aware training: forward with the weights rounded as 4-bit storage will round them.

Gradients pass the rounding unchanged (straight-through estimator, arXiv 1308.3432), so a step costs what LoRA's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear
from transformers import TrainerCallback

from training.quantize.awq import rounded

ADAPTER = "default"


class Rounding(TrainerCallback):  # type: ignore[misc]
    """Every adapted layer answers as its merged weight would, rounded in groups of `group_size`, but for those whose
    names have a part that is in `keep`.

    As a callback of the trainer it learns when the adapter has moved, and only then rounds anew: weights cannot tell,
    since fused optimizers leave their version counters as they are.
    """

    def __init__(self, model: Any, group_size: int, keep: Sequence[str] = ()) -> None:
        self._layers = [
            _Rounded(layer, group_size)
            for name, layer in model.named_modules()
            if isinstance(layer, Linear) and not any(part in name for part in keep)
        ]
        if not self._layers:
            raise ValueError("no layer of the model has an adapter that could be rounded")

    def moved(self) -> None:
        """The adapter is another one: round anew when next asked."""
        for layer in self._layers:
            layer.weight = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.moved()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.moved()


class _Rounded:
    """An adapted layer's forward: the rounded weight's output, with the gradient of LoRA's without rounding."""

    def __init__(self, layer: Any, group_size: int) -> None:
        self._layer, self._group_size = layer, group_size
        self.weight: torch.Tensor | None = None
        layer.forward = self._forward

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        if self.weight is None:
            self.weight = self._rounded()
        output = torch.nn.functional.linear(x, self.weight, layer.get_base_layer().bias)
        down, up, scale = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER], layer.scaling[ADAPTER]
        learnt = up(down(x.detach().to(down.weight.dtype))) * scale
        return output + (learnt - learnt.detach()).to(output.dtype)

    def _rounded(self) -> torch.Tensor:
        with torch.no_grad():
            base = self._layer.get_base_layer().weight
            merged = base.to(torch.bfloat16, copy=True)  # as `training.finetune.merge` stores the sum
            merged += self._layer.get_delta_weight(ADAPTER)
            return rounded(merged.to(base.dtype), self._group_size)

"""Quantization-aware training: the forward pass uses weights rounded as 4-bit storage rounds them.

Gradients pass the rounding unchanged (straight-through estimator, arXiv 1308.3432), so a step costs as much as LoRA's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear
from transformers import TrainerCallback

from training.quantize.awq import fake_quantize

ADAPTER = "default"


class FakeQuantization(TrainerCallback):  # type: ignore[misc]
    """Run adapted layers with their merged weights rounded in groups of `group_size`.

    Layers whose names contain a part listed in `keep` are left alone. The trainer's callbacks invalidate the rounded
    weights after each step: fused optimizers do not update the weights' version counters.
    """

    def __init__(self, model: Any, group_size: int, keep: Sequence[str] = ()) -> None:
        self._layers = [
            _FakeQuantizedLayer(layer, group_size)
            for name, layer in model.named_modules()
            if isinstance(layer, Linear) and not any(part in name for part in keep)
        ]
        if not self._layers:
            raise ValueError("no layer of the model has an adapter that could be fake_quantize")

    def invalidate(self) -> None:
        """Discard the rounded weights; the next forward pass computes them again."""
        for layer in self._layers:
            layer.weight = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.invalidate()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.invalidate()


class _FakeQuantizedLayer:
    """The forward pass of one adapted layer: the rounded weight's output with the unrounded LoRA gradient."""

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
        update = up(down(x.detach().to(down.weight.dtype))) * scale
        return output + (update - update.detach()).to(output.dtype)

    def _rounded(self) -> torch.Tensor:
        with torch.no_grad():
            base = self._layer.get_base_layer().weight
            merged = base.to(torch.bfloat16, copy=True)  # as `training.finetune.merge` stores the sum
            merged += self._layer.get_delta_weight(ADAPTER)
            return fake_quantize(merged.to(base.dtype), self._group_size)

"""LoRA layers that run with base and adapter merged into one weight, which is computed once per step.

The gradients are LoRA's; the forward pass is one product in place of three, and the backward pass has no product of
the layer's full width more than a frozen layer's. The weight may be rounded as 4-bit storage rounds it, for
quantization-aware training: gradients pass the rounding unchanged (straight-through estimator, arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear
from transformers import TrainerCallback

from training.quantize.awq import fake_quantize

ADAPTER = "default"


class MergedForward(TrainerCallback):  # type: ignore[misc]
    """Run adapted layers with merged weights, rounded in groups of `group_size` unless it is None.

    Layers whose names contain a part listed in `keep` are not rounded. The trainer's callbacks discard the merged
    weights after each step: fused optimizers do not update the weights' version counters.
    """

    def __init__(self, model: Any, group_size: int | None = None, keep: Sequence[str] = ()) -> None:
        self._layers = [
            _MergedLayer(layer, None if any(part in name for part in keep) else group_size)
            for name, layer in model.named_modules()
            if isinstance(layer, Linear)
        ]
        if group_size and not any(layer.group_size for layer in self._layers):
            raise ValueError("quantize.keep names every layer with an adapter: none is left to round")

    def invalidate(self) -> None:
        """Discard the merged weights; the next forward pass computes them again."""
        for layer in self._layers:
            layer.weight = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.invalidate()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.invalidate()


class _MergedLayer:
    """The forward pass of one adapted layer."""

    def __init__(self, layer: Any, group_size: int | None) -> None:
        self._layer, self.group_size = layer, group_size
        self.weight: torch.Tensor | None = None
        layer.forward = self._forward

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self._layer
        if self.weight is None:
            self.weight = self._merged()
        down, up, scale = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER], layer.scaling[ADAPTER]
        bias = layer.get_base_layer().bias
        output: torch.Tensor = _MergedLinear.apply(x, self.weight, bias, down.weight, up.weight, scale)
        return output

    def _merged(self) -> torch.Tensor:
        with torch.no_grad():
            base = self._layer.get_base_layer().weight
            if self.group_size is None:
                return base + self._layer.get_delta_weight(ADAPTER).to(base.dtype)
            merged = base.to(torch.bfloat16, copy=True)  # as `training.finetune.merge` stores the sum
            merged += self._layer.get_delta_weight(ADAPTER)
            return fake_quantize(merged.to(base.dtype), self.group_size)


class _MergedLinear(torch.autograd.Function):  # type: ignore[misc]
    """A linear layer with the weight W + scale * up @ down, with gradients for `x`, `down` and `up`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        x = x.to(weight.dtype)
        ctx.save_for_backward(x, weight, down, up)
        ctx.scale = scale
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        rows, out = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        low = out @ up.to(out.dtype)
        d_down = low.t() @ rows * ctx.scale
        d_up = out.t() @ (rows @ down.to(rows.dtype).t()) * ctx.scale
        d_x = gradient @ weight if ctx.needs_input_grad[0] else None
        return d_x, None, None, d_down.to(down.dtype), d_up.to(up.dtype), None

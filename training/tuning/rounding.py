"""Quantisation-aware training: forward with the weights rounded as 4-bit storage will round them.

Gradients pass the rounding unchanged (straight-through estimator, arXiv 1308.3432), so a step costs what LoRA's does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear

ADAPTER = "default"
STEPS = 15
"""Between the smallest and the largest weight of a group: 4 bits."""


def round_weights(model: Any, group_size: int) -> None:
    """From now on every adapted layer answers as its merged weight would, rounded in groups of `group_size`."""
    for layer in model.modules():
        if isinstance(layer, Linear):
            layer.forward = partial(_forward, layer, _Rounded(layer, group_size))


class _Rounded:
    """A layer's merged weight, rounded: made anew once the optimizer has moved the adapter."""

    def __init__(self, layer: Any, group_size: int) -> None:
        self._layer, self._group_size = layer, group_size
        self._made_of: tuple[int, int] | None = None
        self._weight = torch.empty(0)

    def weight(self) -> torch.Tensor:
        down, up = self._layer.lora_A[ADAPTER].weight, self._layer.lora_B[ADAPTER].weight
        made_of = (down._version, up._version)
        if made_of != self._made_of:
            with torch.no_grad():
                base = self._layer.get_base_layer().weight
                merged = base + self._layer.get_delta_weight(ADAPTER).to(base.dtype)
                self._weight, self._made_of = rounded(merged, self._group_size), made_of
        return self._weight


def rounded(weight: torch.Tensor, group_size: int) -> torch.Tensor:
    """What 4 bits make of a weight (out, in): each group of a row on 16 even steps from its least to its greatest.

    In half precision and in the order in which AutoAWQ does it, so that the two agree to the last bit.
    """
    groups = weight.half().reshape(-1, group_size)
    least, greatest = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    step = (greatest - least).clamp(min=1e-5) / STEPS
    zero = (-torch.round(least / step)).clamp_(0, STEPS)
    return ((torch.clamp(torch.round(groups / step) + zero, 0, STEPS) - zero) * step).reshape(weight.shape).to(weight)


def _forward(layer: Any, held: _Rounded, x: torch.Tensor) -> torch.Tensor:
    """The rounded weight's output, with the gradient that LoRA's weights would have without rounding."""
    output = torch.nn.functional.linear(x, held.weight(), layer.get_base_layer().bias)
    down, up, scale = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER], layer.scaling[ADAPTER]
    learnt = up(down(x.detach().to(down.weight.dtype))) * scale
    return output + (learnt - learnt.detach()).to(output.dtype)

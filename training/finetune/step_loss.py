"""The step loss: after each line of a prompt, inner layers must state the line's vote and the votes' sum so far.

A layer states a number as the component of its normalized output along a fixed direction, the one from the head's
token for "sell" to its token for "buy". Nothing is added to the model, which is served as it was.
"""

from __future__ import annotations

from typing import Any

import torch

VOTE_DEPTH, SCORE_DEPTH = 1 / 3, 2 / 3
"""The layers that state votes and sums, as fractions of the model's depth: a sum needs the votes first."""
SCORE_UNIT = 4.0
"""Votes per unit of the stated sum: typical sums are up to 12."""
VOTE_BETA, SCORE_BETA = 0.5, 0.25
"""Errors from which the loss grows linearly (`smooth_l1_loss`)."""
EPSILON = 1e-6


class StepLoss:
    """The weighted mean error of the stated votes and sums in the model's last forward pass."""

    def __init__(self, model: Any, buy: int, sell: int, weight: float = 1.0) -> None:
        inner = model.get_base_model()
        layers, head = inner.model.layers, inner.get_output_embeddings().weight.detach().float()
        self._direction = torch.nn.functional.normalize(head[buy] - head[sell], dim=0)
        self._weight = weight
        self._outputs: dict[str, torch.Tensor] = {}
        for name, depth in (("votes", VOTE_DEPTH), ("scores", SCORE_DEPTH)):
            layers[round(depth * len(layers)) - 1].register_forward_hook(self._keep(name))

    def __call__(self, inputs: dict[str, Any]) -> torch.Tensor:
        scores = self._stated("scores", inputs)
        expected, weights = (inputs["scores"][:, column].to(scores.dtype) for column in (2, 3))
        errors = torch.nn.functional.smooth_l1_loss(scores, expected / SCORE_UNIT, beta=SCORE_BETA, reduction="none")
        score_loss = (errors * weights).sum() / weights.sum()
        votes = self._stated("votes", inputs)
        vote_loss = torch.nn.functional.smooth_l1_loss(votes, inputs["votes"][:, 2].to(votes.dtype), beta=VOTE_BETA)
        return self._weight * (score_loss + vote_loss)

    def _keep(self, name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            self._outputs[name] = output[0] if isinstance(output, tuple) else output

        return keep

    def _stated(self, name: str, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the numbers that a layer states at a column's entries; its last output may omit the shared prefix."""
        row, position = inputs[name][:, :2].long().t()
        outputs = self._outputs[name]
        omitted = inputs["input_ids"].shape[1] - outputs.shape[1]
        output = outputs[row, position - omitted].float()
        normalized = output * torch.rsqrt(output.pow(2).mean(-1, keepdim=True) + EPSILON)
        return normalized @ self._direction.to(normalized)

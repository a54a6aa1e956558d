"""An upper estimate of the GPU memory of a training, from the base's shape and the settings.

It counts what LoRA on all linear layers keeps in mixed precision: the frozen weights, the adapter with gradients and
Adam's moments in float32, and the tensors that the backward pass reads. Attention is counted as PyTorch's fused kernel
runs it, without a matrix of scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from training.config.finetune import Finetune

FLOAT = 4
ADAPTER_BYTES = 4 * FLOAT
"""Bytes per weight of the adapter: value, gradient and two moments."""
NF4_BYTES = 0.516
"""Bytes per weight in 4 bits with double quantization (arXiv 2305.14314: 4.127 bits)."""
MARGIN = 1.1
"""Room for gradients of activations, temporary tensors and fragmentation."""
GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """Sizes of a base: `attention` and `mlp` list a block's linear layers as (in, out), `active` experts a token."""

    layers: int
    hidden: int
    vocabulary: int
    attention: tuple[tuple[int, int], ...]
    mlp: tuple[tuple[int, int], ...]
    experts: int
    active: int
    tied: bool

    @property
    def block(self) -> int:
        """Weights of a block's linear layers."""
        return sum(map(prod, self.attention)) + self.experts * sum(map(prod, self.mlp))

    @property
    def other(self) -> int:
        """Weights outside the linear layers: embeddings, head, norms and routers."""
        routers = self.experts * self.hidden if self.experts > 1 else 0
        heads = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return heads + self.hidden + self.layers * (2 * self.hidden + routers)

    @property
    def adapted(self) -> tuple[tuple[int, int], ...]:
        """A block's layers with an adapter: experts are one tensor, which LoRA leaves as it is."""
        return self.attention if self.experts > 1 else self.attention + self.mlp


@dataclass(frozen=True)
class Estimate:
    """Bytes of a training on one GPU."""

    weights: float
    adapter: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return MARGIN * (self.weights + self.adapter + self.activations + self.logits)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in vars(self).items())
        return f"{self.total / GIB:.1f} GiB ({parts}, and a tenth more)"


def shape(config: Mapping[str, Any]) -> Shape:
    """Return the shape that a base's config.json describes, of the Llama, Mistral or Mixtral architecture."""
    hidden, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    width = config.get("head_dim") or hidden // heads
    queries, keys = heads * width, (config.get("num_key_value_heads") or heads) * width
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        vocabulary=config["vocab_size"],
        attention=((hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)),
        mlp=((hidden, inner), (hidden, inner), (inner, hidden)),
        experts=config.get("num_local_experts") or 1,
        active=config.get("num_experts_per_tok") or 1,
        tied=bool(config.get("tie_word_embeddings")),
    )


def estimate(base: Shape, settings: Finetune, itemsize: int = 2, rounded: bool = False) -> Estimate:
    """Return the memory at the configured batch and length; `rounded` training holds each merged weight too."""
    linear = base.layers * base.block
    stored = linear * NF4_BYTES + base.other * FLOAT if settings.qlora else (linear + base.other) * itemsize
    merged = base.layers * sum(map(prod, base.adapted)) * itemsize if rounded else 0
    adapter = base.layers * settings.rank * sum(map(sum, base.adapted)) * ADAPTER_BYTES
    tokens, block = settings.batch * settings.max_length, _block_bytes(base, settings, itemsize)
    kept = base.layers * base.hidden * itemsize + block if settings.checkpointing else base.layers * block
    logits = base.vocabulary * (2 * itemsize + 3 * FLOAT)  # with their gradients, and the loss's own in float32
    return Estimate(stored + merged, adapter, tokens * kept, tokens * logits)


def _block_bytes(base: Shape, settings: Finetune, itemsize: int) -> int:
    """Return the bytes per token that a block keeps for its backward pass."""
    norms = 2 * base.hidden * FLOAT
    dropped = 1 if settings.dropout else 0  # the mask has a byte per number
    inputs = sum(size * (itemsize + dropped) for size, _ in base.adapted)
    low = len(base.adapted) * settings.rank * itemsize
    queries = base.attention[0][1]
    attention = 4 * queries * itemsize  # query and output, and key and value, repeated for each head
    inner, routed = base.mlp[0][1], 2 * base.hidden if base.experts > 1 else 0
    mlp = base.active * (3 * inner + routed) * itemsize  # gate, its activation, and up
    return norms + inputs + low + attention + mlp


def fitting(base: Shape, settings: Finetune, free: float, itemsize: int = 2, rounded: bool = False) -> str | None:
    """Return the first change of settings, from the cheapest, with which training fits into `free` bytes."""
    for changes in _cheaper(settings, four_bits=base.experts == 1 and not rounded):
        if estimate(base, settings.model_copy(update=changes), itemsize, rounded).total <= free:
            return " and ".join(f"{name} = {str(value).lower()}" for name, value in changes.items())
    return None


def _cheaper(settings: Finetune, four_bits: bool) -> Iterator[dict[str, Any]]:
    """Yield changes: fewer rows a step and more steps an update, then recomputed activations, then 4-bit weights."""
    rows = settings.batch * settings.accumulate
    sizes = [settings.batch >> halved for halved in range(settings.batch.bit_length())]
    batches: list[dict[str, Any]] = [
        {"batch": size, "accumulate": -(-rows // size)} if size < settings.batch else {} for size in sizes
    ]
    recomputed: dict[str, Any] = {"checkpointing": True}
    for more in ({}, recomputed, *([recomputed | {"qlora": True}] if four_bits else [])):
        yield from ({**more, **batch} for batch in batches)

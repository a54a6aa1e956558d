"""Names of the layers that are quantized, for checking a configuration without the weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers that vLLM computes as one, so that they are quantized together or not at all."""
OF_BLOCK = (
    *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
    *(f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
    *(f"block_sparse_moe.experts.{expert}.{name}" for expert in range(8) for name in ("w1", "w2", "w3")),
)
"""Quantized layers of a block, in the architectures of the configs."""
BLOCKS = [[f"model.layers.{number}.{name}.weight" for name in OF_BLOCK] for number in range(128)]


def faults_of_kept(parts: Sequence[str]) -> Iterator[str]:
    """Yield the parts that are in no layer's name, and the fused layers of which only some are kept."""
    for part in parts:
        if not any(part in name for block in BLOCKS for name in block):
            yield f"{part!r} is part of no layer's name"
    for fused in FUSED:
        for block in BLOCKS:
            kept = [name for name in fused if _is_kept(name, block, parts)]
            if 0 < len(kept) < len(fused):
                others = [name for name in fused if name not in kept]
                yield f"{', '.join(kept)} without {', '.join(others)}, which vLLM computes as one"
                break


def _is_kept(name: str, block: Sequence[str], parts: Collection[str]) -> bool:
    layer = next(one for one in block if one.endswith(f"{name}.weight"))
    return any(part in layer for part in parts)

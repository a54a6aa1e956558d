"""Shapes, tokenizers and chat templates of the hub's bases that the configurations name.

The shapes are those of each repository's config.json. The templates are the repositories' for one user turn, which is
all that the contract sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.config.base import Base


@dataclass(frozen=True)
class Family:
    """What a base is made of besides its weights."""

    config: Mapping[str, Any]
    """Entries of its config.json."""
    sentencepiece: str
    """File of its tokenizer's SentencePiece model in the package mistral_common."""
    template: str
    differs: str = ""
    """How its tokenizer differs from the base's own."""

    @property
    def layers(self) -> int:
        return int(self.config["num_hidden_layers"])


_WIDTH = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "rms_norm_eps": 1e-5}
_IDS = {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
_MISTRAL = {"num_key_value_heads": 8, "intermediate_size": 14336, "rope_theta": 1e6, "max_position_embeddings": 32768}
_LLAMA = {"num_key_value_heads": 32, "intermediate_size": 11008, "rope_theta": 1e4, "max_position_embeddings": 4096}
_EXPERTS = {"num_local_experts": 8, "num_experts_per_tok": 2}
_FIRST, _THIRD = "tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"

FAMILIES: Mapping[str, Family] = {
    "mistralai/Mistral-7B-Instruct-v0.3": Family(
        {"model_type": "mistral", **_WIDTH, **_IDS, **_MISTRAL, "vocab_size": 32768, "sliding_window": None},
        _THIRD,
        "{{ bos_token + '[INST] ' + messages[0].content + '[/INST]' }}",
    ),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": Family(
        {"model_type": "mixtral", **_WIDTH, **_IDS, **_MISTRAL, **_EXPERTS, "vocab_size": 32000},
        _FIRST,
        "{{ bos_token + ' [INST] ' + messages[0].content + ' [/INST]' }}",
    ),
    "meta-llama/Llama-2-7b-chat-hf": Family(
        {"model_type": "llama", **_WIDTH, **_IDS, **_LLAMA, "vocab_size": 32000},
        _FIRST,
        "{{ bos_token + '[INST] ' + messages[0].content.strip() + ' [/INST]' }}",
        "the tokenizer is Mistral's first, since Llama-2's is on no package index: both have 32,000 tokens, put a "
        "space before a text, have bytes for what they lack, no token for [INST], and no padding token",
    ),
}
"""By the base's repository."""


def family_of(base: Base) -> Family:
    """Return the base's family. Raises `ValueError` for a base whose shapes are not known."""
    if base.repo is None or base.repo not in FAMILIES:
        raise ValueError(f"the shapes of {base.repo or base.name} are not known; those of {', '.join(FAMILIES)} are")
    return FAMILIES[base.repo]

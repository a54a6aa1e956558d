"""A family's tokenizer, as transformers builds it from the SentencePiece model in mistral_common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.rehearsal.families import Family

CONTROL, USER_DEFINED = 3, 4
"""Types of SentencePiece's special pieces."""


def sentencepiece(family: Family, environment: Path) -> Path:
    """Return the family's SentencePiece model in a virtual environment. Raises `FileNotFoundError` if it has none."""
    pattern = f"lib/python3*/site-packages/mistral_common/data/{family.sentencepiece}"
    found = next(environment.glob(pattern), None)
    if found is None:
        raise FileNotFoundError(f"no tokenizer: {environment} has no {pattern}; vLLM's environment has it")
    return found


def build(family: Family, model: Path) -> Any:
    """Return the tokenizer with the family's chat template."""
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges
    from transformers.utils import sentencepiece_model_pb2_new as protocol

    read = protocol.ModelProto()
    read.ParseFromString(model.read_bytes())
    vocabulary = {piece.piece: number for number, piece in enumerate(read.pieces)}
    special = [piece.piece for piece in read.pieces if piece.type in (CONTROL, USER_DEFINED)]
    tokenizer = LlamaTokenizer(vocabulary, generate_merges(vocabulary), legacy=False, extra_special_tokens=special)
    tokenizer.chat_template = family.template
    return tokenizer

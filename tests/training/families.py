"""Tokenizers with the chat templates of the configs' families, as Hugging Face has them.

Mistral v0.3's SentencePiece model is the real one, which mistral_common contains. It contains Mixtral's too, which is
Mistral's first. Llama-2's is on no package index: its template is used with Mistral's first, which like it puts a space
before a text, has bytes for what it lacks, no token for [INST], and no padding token. Templates are for one user turn.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODELS = {"mistral": "mistral_instruct_tokenizer_240323.model.v3", "llama": "tokenizer.model.v1"}
MODELS["mixtral"] = MODELS["llama"]
TEMPLATES = {
    "mistral": "{{ bos_token + '[INST] ' + messages[0].content + '[/INST]' }}",
    "llama": "{{ bos_token + '[INST] ' + messages[0].content.strip() + ' [/INST]' }}",
    "mixtral": "{{ bos_token + ' [INST] ' + messages[0].content + ' [/INST]' }}",
}
FAMILIES = tuple(TEMPLATES)
CONTROL, USER_DEFINED = 3, 4


@cache
def family_tokenizer(family: str) -> Any:
    """Return the tokenizer that transformers builds for a family of Llama's tokenizers."""
    transformers = pytest.importorskip("transformers")
    from transformers.tokenization_utils_base import generate_merges
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

    found = next(ROOT.glob(f".envs/*/lib/python3*/site-packages/mistral_common/data/{MODELS[family]}"), None)
    if found is None:
        pytest.skip("mistral_common is in no environment: `make .envs/dev/.complete`")
    model = sentencepiece.ModelProto()
    model.ParseFromString(found.read_bytes())
    vocabulary = {piece.piece: number for number, piece in enumerate(model.pieces)}
    special = [piece.piece for piece in model.pieces if piece.type in (CONTROL, USER_DEFINED)]
    tokenizer = transformers.LlamaTokenizer(
        vocabulary, generate_merges(vocabulary), legacy=False, extra_special_tokens=special
    )
    tokenizer.chat_template = TEMPLATES[family]
    return tokenizer

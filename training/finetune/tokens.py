"""Tokens of answers and of padding, which differ between the families of tokenizers."""

from __future__ import annotations

from typing import Any

Span = tuple[int, int]
"""A token's first character and the one after its last."""
BEFORE = "\n"
"""Precedes a text to be tokenized as a continuation; no vocabulary of the configs joins it with a brace."""


def continuation(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """Tokenize what follows a prompt; return the ids and each token's characters.

    SentencePiece's tokenizers (Mistral v0.3, Llama-2, Mixtral) put a space before a text that stands alone, so that an
    answer would begin with the token ` {"`. The served grammar allows no space there, so a model trained on that token
    would have to answer in others. Raises `ValueError` if the tokenizer joins the text with what precedes it.
    """
    encoded = tokenizer(BEFORE + text, add_special_tokens=False, return_offsets_mapping=True)
    spans = [(start - len(BEFORE), end - len(BEFORE)) for start, end in encoded["offset_mapping"]]
    first = next(index for index, (start, _) in enumerate(spans) if start >= 0)
    if spans[first][0] > 0:
        raise ValueError(f"the tokenizer joins {text[:8]!r} with a newline before it")
    return list(encoded["input_ids"][first:]), spans[first:]


def padding(tokenizer: Any) -> int:
    """Return the token that fills rows: the padding token, or the end of turn where there is none, as in Mistral v0.3.

    Filled positions have no label and follow all others, so that under causal attention every id gives the same loss.
    """
    pad = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad is None else pad)

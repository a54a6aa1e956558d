"""Tokenizers with the chat templates of the configs' families, from mistral_common in an environment of the tree."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from training.rehearsal.families import FAMILIES as BASES
from training.rehearsal.families import Family
from training.rehearsal.tokenizer import build, sentencepiece

ROOT = Path(__file__).parents[2]
BY_ARCHITECTURE: dict[str, Family] = {family.config["model_type"]: family for family in BASES.values()}
FAMILIES = tuple(BY_ARCHITECTURE)


def family_sentencepiece(family: str) -> Path:
    """Return the file of a family's tokenizer, of any environment that has it."""
    for environment in sorted((ROOT / ".envs").glob("*/")):
        try:
            return sentencepiece(BY_ARCHITECTURE[family], environment)
        except FileNotFoundError:
            continue
    pytest.skip("mistral_common is in no environment: `make .envs/dev/.complete`")


@cache
def family_tokenizer(family: str) -> Any:
    pytest.importorskip("transformers")
    return build(BY_ARCHITECTURE[family], family_sentencepiece(family))

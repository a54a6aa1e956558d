"""Merging of an adapter into the bf16 base."""

from __future__ import annotations

import shutil
from pathlib import Path

from training.artifacts import TOKENIZER_FILES


def merge(base: Path, adapter: Path, folder: Path) -> None:
    """Write base plus adapter to `folder`, with the base's tokenizer and chat template.

    PEFT computes in float32 and rounds each sum to bf16 once, so the hashes are the same on every machine.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    folder.mkdir(parents=True, exist_ok=True)
    merged.save_pretrained(folder, safe_serialization=True)
    for name in TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)

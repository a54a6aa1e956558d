"""A base of random weights, in the layout of a hub's repository, prepared as a run prepares one."""

from __future__ import annotations

import shutil
from pathlib import Path

from training.config.base import Base
from training.finetune.base import prepare
from training.rehearsal.families import Family
from training.rehearsal.tokenizer import build


def random_base(family: Family, layers: int, sentencepiece: Path, base: Base, models: Path) -> int:
    """Write random bf16 weights to the folder that `base.repo` names, prepare them, and delete the folder.

    Returns the number of weights.
    """
    source = Path(str(base.repo))
    shutil.rmtree(source, ignore_errors=True)
    weights = _write(family, layers, sentencepiece, source)
    prepare(base, models / "bases" / base.name)
    shutil.rmtree(source)
    return weights


def _write(family: Family, layers: int, sentencepiece: Path, folder: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = build(family, sentencepiece)
    if len(tokenizer) > (size := family.config["vocab_size"]):
        raise ValueError(f"{sentencepiece.name} has {len(tokenizer)} tokens, and the base {size}")
    torch.manual_seed(0)
    config = AutoConfig.for_model(**{**family.config, "num_hidden_layers": layers})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())

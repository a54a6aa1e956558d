"""The frozen base with a trainable adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from training.artifacts import read_json
from training.config.finetune import Finetune
from training.finetune.base import local_rank
from training.precision import training_dtype

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def with_adapter(settings: Finetune, base: Path, start: Path | None = None) -> Any:
    """Return the frozen base with a trainable adapter: a new one, or the one in the folder `start`.

    The adapter is on all linear layers, and in a mixture of experts on the attention: transformers stores all experts
    of a block as one tensor, for which PEFT would compute an adapter's whole product. With QLoRA each process loads the
    base onto its own GPU. On a CPU eager attention is faster for short rows than PyTorch's fused kernel, whose backward
    pass is slow.
    """
    torch.manual_seed(settings.seed)
    gpu = torch.cuda.is_available()
    experts = read_json(base / "config.json").get("num_local_experts")
    if settings.qlora:
        _require_four_bits(base, gpu, experts)
    options = {"quantization_config": _nf4(), "device_map": {"": local_rank()}} if settings.qlora else {}
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=training_dtype(), attn_implementation="sdpa" if gpu else "eager", use_safetensors=True, **options
    )
    if settings.qlora:  # the trainer recomputes activations where that is configured
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if start:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=ATTENTION if experts else "all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def _require_four_bits(base: Path, gpu: bool, experts: int | None) -> None:
    """Raise `ValueError` without a GPU, and for a mixture of experts, which bitsandbytes leaves in 16 bits."""
    if not gpu:
        raise ValueError("finetune.qlora: bitsandbytes needs a GPU, and PyTorch finds none")
    if experts:
        raise ValueError(
            f"finetune.qlora: bitsandbytes leaves the {experts} experts of {base.name} in 16 bits: set qlora = false"
        )


def _nf4() -> BitsAndBytesConfig:
    """Return QLoRA's storage of the base: 4-bit NormalFloat with double quantization (arXiv 2305.14314)."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=training_dtype(),
    )

"""Each architecture of the configs through the stages, with its family's tokenizer and random weights at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open

from tests.training.conftest import ARCHITECTURES, make_toy
from tests.training.families import family_tokenizer
from training.artifacts import Artifacts
from training.config.quantize import Quantize
from training.config.run import Config
from training.dataset.stage import build
from training.finetune.merge import merge
from training.finetune.stage import finetune
from training.labeling.stage import label
from training.precision import training_dtype
from training.quantize.awq import quantize_folder

pytestmark = pytest.mark.filterwarnings("default")

SETTINGS = Quantize(bits=4, group_size=32, search=False)
SERVED = {"mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM", "llama": "MistralForCausalLM"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_from_base_to_four_bits(
    architecture: str, config: Config, artifacts: Artifacts, synthetic_market: Path, tmp_path: Path
) -> None:
    base = make_toy(tmp_path / "base", architecture, family_tokenizer(architecture))
    build(config, artifacts, synthetic_market)
    label(config, artifacts)
    finetune(config, artifacts, base)
    adapter, merged, quantized = artifacts.folder / "finetune" / "adapter", tmp_path / "merged", tmp_path / "awq"
    with safe_open(adapter / "adapter_model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert any("lora_B" in name and weights.get_tensor(name).abs().max() > 0 for name in names)
        assert {"self_attn" in name for name in names} == ({True} if architecture == "mixtral" else {True, False})

    merge(base, adapter, merged)
    tuned, untuned = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=training_dtype())(
            input_ids=torch.arange(5, 40).unsqueeze(0)
        ).logits
        for folder in (merged, base)
    )
    assert (tuned - untuned).abs().max() > 0

    quantize_folder(merged, SETTINGS, quantized)
    written = json.loads((quantized / "config.json").read_text())
    assert written["architectures"] == [SERVED[architecture]]
    assert written["quantization_config"]["bits"] == 4
    with safe_open(quantized / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert "model.layers.1.self_attn.q_proj.qweight" in names
        assert any("qweight" in name and ("mlp" in name or "experts" in name) for name in names)
        assert not any("lm_head.qweight" in name for name in names)

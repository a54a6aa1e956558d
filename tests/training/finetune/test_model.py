"""What QLoRA loads, without bitsandbytes and a GPU: the options, the device, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from training.artifacts import write_json
from training.config.finetune import Finetune
from training.config.run import Config
from training.finetune import model
from training.finetune.model import with_adapter

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the last base that was loaded, which is a small one that says that it has 4 bits."""
    options: dict[str, Any] = {}

    def load(_: Path, **given: Any) -> Any:
        options.update(given)
        small = transformers.MistralForCausalLM(transformers.MistralConfig(**SIZES, num_key_value_heads=1))
        small.is_loaded_in_4bit = True
        return small

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(model, "training_dtype", lambda: torch.float32)
    monkeypatch.setattr(model, "_nf4", lambda: "nf4")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    return options


@pytest.fixture
def qlora(config: Config) -> Finetune:
    return config.finetune.model_copy(update={"qlora": True})


@pytest.mark.parametrize("rank", [0, 3])
def test_every_process_loads_onto_its_own_gpu(
    qlora: Finetune, loaded: dict[str, Any], rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    write_json(tmp_path / "config.json", SIZES)
    with_adapter(qlora, tmp_path)
    assert loaded["device_map"] == {"": rank}
    assert loaded["quantization_config"] == "nf4"


def test_four_bits_alone_do_not_recompute_activations(qlora: Finetune, loaded: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", SIZES)
    assert not with_adapter(qlora, tmp_path).is_gradient_checkpointing


def test_a_mixture_of_experts_is_not_stored_in_4_bits(qlora: Finetune, loaded: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {**SIZES, "num_local_experts": 8})
    with pytest.raises(ValueError, match=r"finetune\.qlora: .* 8 experts .* qlora = false"):
        with_adapter(qlora, tmp_path)
    assert not loaded

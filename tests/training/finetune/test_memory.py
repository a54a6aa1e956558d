"""The estimate of memory, against what PyTorch keeps, and the refusal that names settings that fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tests.training.families import BY_ARCHITECTURE
from training.artifacts import write_json
from training.config.finetune import Finetune
from training.config.run import Config, load
from training.finetune import base
from training.finetune.memory import GIB, Shape, estimate, fitting, shape

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
MISTRAL, MIXTRAL, LLAMA = (BY_ARCHITECTURE[name].config for name in ("mistral", "mixtral", "llama"))


def of(name: str) -> Finetune:
    return load(CONFIGS / f"{name}.toml").finetune


@pytest.mark.parametrize(
    ("config", "weights"), [(MISTRAL, 7_248_023_552), (LLAMA, 6_738_415_616), (MIXTRAL, 46_702_792_704)]
)
def test_a_base_has_its_published_number_of_weights(config: Mapping[str, Any], weights: int) -> None:
    found = shape(config)
    assert found.layers * found.block + found.other == weights


@pytest.mark.parametrize(
    ("name", "config", "gib"),
    [
        ("mistral-7b", MISTRAL, 79.2),
        ("pairs-1000", MISTRAL, 79.2),
        ("pairs-20000", MISTRAL, 79.2),
        ("llama-2-7b", LLAMA, 79.2),
        ("mixtral-8x7b", MIXTRAL, 139.0),
    ],
)
def test_a_config_fits_the_gpu_that_it_names(name: str, config: Mapping[str, Any], gib: float) -> None:
    assert estimate(shape(config), of(name)).total < gib * GIB


def test_mistral_fits_40_gb_with_the_settings_that_its_config_names() -> None:
    whole, settings = shape(MISTRAL), of("mistral-7b")
    assert fitting(whole, settings, 39.4 * GIB) == "batch = 1 and accumulate = 8"
    assert estimate(whole, settings.model_copy(update={"batch": 4})).total > 80 * GIB


def toy(tokens: int, **settings: Any) -> tuple[Any, Shape, Finetune]:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1, "intermediate_size": 896}
    config = transformers.MistralConfig(**sizes, num_hidden_layers=4, vocab_size=256, attn_implementation="sdpa")
    torch.manual_seed(0)
    model = transformers.MistralForCausalLM(config).to(torch.bfloat16)
    lora = peft.LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    common = {"seed": 0, "rank": 8, "alpha": 8, "dropout": 0.0, "epochs": 1, "batch": 2, "max_length": tokens // 2}
    rest = {"learning_rate": 1e-4, "warmup": 0.0, "evaluate_every": 1, "save_every": 1}
    chosen = Finetune.model_validate({**common, **rest, **settings})
    return peft.get_peft_model(model, lora).train(), shape(config.to_dict()), chosen


def kept(model: Any, tokens: int) -> int:
    """Return the bytes of all tensors but weights that the backward pass of one step reads."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(0, 256, (2, tokens // 2))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    assert loss.isfinite()
    return sum(storage.nbytes() for storage in found.values())


def test_the_estimate_is_what_the_backward_pass_reads() -> None:
    model, sizes, settings = toy(512)
    estimated = estimate(sizes, settings)
    measured = kept(model, 512)
    assert measured < estimated.activations + estimated.logits < 1.35 * measured
    adapter = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert estimated.adapter == 16 * adapter
    frozen = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    assert estimated.weights == 2 * frozen


def test_checkpointing_keeps_little(config: Config) -> None:
    model, sizes, settings = toy(512)
    model.gradient_checkpointing_enable()
    measured, whole = kept(model, 512), estimate(sizes, settings)
    recomputed = estimate(sizes, settings.model_copy(update={"checkpointing": True}))
    assert measured < recomputed.activations + recomputed.logits < whole.activations + whole.logits


def test_a_gpu_that_is_too_small_is_refused_before_loading_with_settings_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "config.json", MISTRAL)  # no weights: nothing can be loaded
    free = {3: 79.2 * GIB}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 80 * GIB))
    monkeypatch.setattr(base, "training_dtype", lambda: torch.bfloat16)
    monkeypatch.setenv("LOCAL_RANK", "3")
    settings = of("mistral-7b")
    base.require_memory(tmp_path, settings)
    for given, gib in (
        (settings.model_copy(update={"batch": 4}), 79.2),
        (settings, 39.4),
        (settings, 22.0),
        (settings, 14.0),
    ):
        free[3] = gib * GIB
        with pytest.raises(
            MemoryError, match=rf"needs [\d.]+ GiB \(weights .*, {gib} GiB of the GPU are free: set "
        ) as caught:
            base.require_memory(tmp_path, given)
        changes = re.findall(r"(\w+) = (\w+)", str(caught.value).partition(": set ")[2])
        values = {name: value == "true" if value in ("true", "false") else int(value) for name, value in changes}
        base.require_memory(tmp_path, given.model_copy(update=values))
    free[3] = 2 * GIB
    with pytest.raises(MemoryError, match="use a larger GPU"):
        base.require_memory(tmp_path, settings)


def test_a_mixture_of_experts_is_not_advised_to_store_4_bits() -> None:
    assert fitting(shape(MIXTRAL), of("mixtral-8x7b"), 79.2 * GIB) is None

"""Runs in the training environment: adapter and merge at toy size, the same code as for Mistral 7B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")
peft = pytest.importorskip("peft", reason="PEFT is in the training environment")

from app.contract.manifest import sha256  # noqa: E402
from training.artifacts import Artifacts  # noqa: E402
from training.config import Config  # noqa: E402
from training.dataset import build  # noqa: E402
from training.finetune import finetune  # noqa: E402
from training.merge import merge  # noqa: E402
from training.teacher import label  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def tuned(config: Config, artifacts: Artifacts, synthetic_market: Path, toy: Path) -> Artifacts:
    build(config, artifacts, synthetic_market)
    label(config, artifacts)
    finetune(config, artifacts, toy)
    return artifacts


def logits(model: Any) -> Any:
    ids = torch.arange(5, 40).unsqueeze(0)
    with torch.no_grad():
        return model(input_ids=ids).logits.float()


def test_the_adapter_is_trained_and_the_merge_says_the_same(tuned: Artifacts, toy: Path, tmp_path: Path) -> None:
    manifest = tuned.manifest("finetune")
    assert manifest["pairs"] == 16
    losses = [entry["loss"] for entry in manifest["history"] if "loss" in entry]
    assert all(float(loss) > 0 for loss in losses)
    adapter = tuned.folder / "finetune" / "adapter"
    assert manifest["adapter_sha256"] == sha256(adapter / "adapter_model.safetensors")

    load = transformers.AutoModelForCausalLM.from_pretrained
    untuned = logits(load(toy, dtype=torch.bfloat16))
    with_adapter = logits(peft.PeftModel.from_pretrained(load(toy, dtype=torch.bfloat16), adapter))
    merge(toy, adapter, tmp_path / "merged")
    merged = logits(load(tmp_path / "merged", dtype=torch.bfloat16))
    moved = (with_adapter - untuned).abs().max()
    assert moved > 0
    assert (merged - with_adapter).abs().max() < max(0.02, float(moved))
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["architectures"] == ["MistralForCausalLM"]

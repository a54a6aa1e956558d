"""Runs in the training environment: the precision and the devices that the trainer is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.config.run import Config
from training.finetune.arguments import arguments
from training.finetune.model import with_adapter

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_mixed_precision_is_the_profile_s(
    config: Config, toy: Path, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVICTION_DTYPE", dtype)
    given = arguments(config.finetune, tmp_path)
    assert (given.bf16, given.fp16) == (dtype == "bfloat16", False)
    weights = dict(with_adapter(config.finetune, toy).named_parameters())
    assert {str(w.dtype) for name, w in weights.items() if "lora" in name} == {"torch.float32"}
    assert {str(w.dtype) for name, w in weights.items() if "lora" not in name} == {f"torch.{dtype}"}


def test_a_process_that_sees_several_gpus_uses_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVICTION_DTYPE", "float32")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    given = arguments(config.finetune, tmp_path)
    assert given.n_gpu == 1
    assert given.train_batch_size == config.finetune.batch

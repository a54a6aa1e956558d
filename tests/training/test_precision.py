from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")

from app.contract.hardware import UnsupportedMachine  # noqa: E402
from app.contract.machine import Machine  # noqa: E402
from tests.training.machines import AVX2, AVX512, H200, T4, V100  # noqa: E402
from training import precision  # noqa: E402
from training.precision import training_dtype  # noqa: E402


@pytest.mark.parametrize(
    ("machine", "cuda", "dtype"),
    [
        (AVX512, False, torch.bfloat16),
        (AVX2, False, torch.float32),
        (H200, True, torch.bfloat16),
        (T4, True, torch.float16),
        (V100, True, torch.float16),  # vLLM has no 4-bit kernel for it, but it can train
        (T4, False, torch.float32),  # PyTorch's CPU build beside a GPU
    ],
)
def test_bf16_only_where_the_device_computes_it(
    machine: Machine, cuda: bool, dtype: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "detect", lambda: machine)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(precision, "product_seconds", {torch.bfloat16: 1.0, torch.float32: 2.0}.get)
    assert training_dtype({}) == dtype


def test_a_cpu_that_multiplies_float32_faster_trains_in_it_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "detect", lambda: AVX512)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "product_seconds", {torch.bfloat16: 2.0, torch.float32: 1.0}.get)
    assert training_dtype({}) == torch.float32
    assert training_dtype({"CONVICTION_DTYPE": "bfloat16"}) == torch.bfloat16


def test_a_product_takes_time() -> None:
    assert 0 < precision.product_seconds(torch.float32) < 10


def test_the_environment_may_ask_for_another_but_not_for_float16_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "detect", lambda: AVX512)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_dtype({"CONVICTION_DTYPE": "float32"}) == torch.float32
    with pytest.raises(UnsupportedMachine, match="CONVICTION_DTYPE=float16 trains on a GPU only"):
        training_dtype({"CONVICTION_DTYPE": "float16"})

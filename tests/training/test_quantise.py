"""AWQ at toy size in the quantiser's own environment: what it writes must still be the model it was given."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
transformers = pytest.importorskip("transformers", reason="transformers is in the training environment")

from safetensors.torch import load_file  # noqa: E402

from tests.training.conftest import WORDS  # noqa: E402
from training.config import Quantise  # noqa: E402
from training.tuning.rounding import rounded  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".envs" / "quantise" / "bin" / "python"
SETTINGS = Quantise(bits=4, group_size=32, samples=4, max_length=64)
NIBBLES = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
"""Where AWQ's gemm layout keeps the eight columns of a 32-bit word."""

ROUNDING = 0.15
"""Relative error of a layer: 0.08 in 4 bits as they should be, 0.32 where the scales tried were not taken back."""


@pytest.fixture
def uneven(toy: Path) -> Path:
    """The toy with inputs of very different weight, for which AWQ looks for scales."""
    model = transformers.AutoModelForCausalLM.from_pretrained(toy, dtype=torch.bfloat16)
    for name, weight in model.named_parameters():
        if "proj" in name:
            weight.data *= torch.logspace(-1, 1, weight.shape[1]).to(weight.dtype)
    model.save_pretrained(toy)
    return toy


def dequantised(weights: dict[str, Any], layer: str) -> Any:
    """(out, in) weights from their 4-bit form."""

    def unpack(words: Any) -> Any:
        return ((words[:, :, None] >> (4 * NIBBLES)) & 15).flatten(1).float()

    scales = weights[f"{layer}.scales"].float()
    group = weights[f"{layer}.qweight"].shape[0] // scales.shape[0]
    zeros = unpack(weights[f"{layer}.qzeros"]).repeat_interleave(group, 0)
    return ((unpack(weights[f"{layer}.qweight"]) - zeros) * scales.repeat_interleave(group, 0)).T


def quantised(merged: Path, folder: Path, settings: Quantise) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights before and after."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make {PYTHON.parents[1].relative_to(ROOT)}/.complete`")
    calibration, out = folder / "calibration.json", folder / "awq"
    torch.manual_seed(1)
    calibration.write_text(json.dumps({"ids": torch.randint(3, WORDS, (4, 48)).tolist()}))
    words = ["quantise", "--merged", str(merged), "--calibration", str(calibration), "--out", str(out)]
    command = [str(PYTHON), "-m", "training", *words, "--settings", settings.model_dump_json()]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return load_file(merged / "model.safetensors"), load_file(out / "model.safetensors")


def test_without_a_search_four_bits_are_the_weights_that_training_rounded(toy: Path, tmp_path: Path) -> None:
    before, after = quantised(toy, tmp_path, SETTINGS.model_copy(update={"search": False}))
    for layer in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"):
        name = f"model.layers.1.{layer}"
        wanted = rounded(before[f"{name}.weight"].float(), SETTINGS.group_size)
        torch.testing.assert_close(dequantised(after, name), wanted, rtol=2e-3, atol=1e-5)


def test_four_bits_are_the_weights_within_rounding(uneven: Path, tmp_path: Path) -> None:
    before, after = quantised(uneven, tmp_path, SETTINGS)
    for index in range(2):
        block = f"model.layers.{index}"
        for norm, layer in (("input_layernorm", "self_attn.q_proj"), ("post_attention_layernorm", "mlp.gate_proj")):
            was = before[f"{block}.{layer}.weight"].float() * before[f"{block}.{norm}.weight"].float()
            became = dequantised(after, f"{block}.{layer}") * after[f"{block}.{norm}.weight"].float()
            assert (was - became).norm() / was.norm() < ROUNDING, f"{block}.{layer}"

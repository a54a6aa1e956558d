"""Runs in the training environment: packed weights equal those of training and of dequantization."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
pytest.importorskip("transformers", reason="transformers is in the training environment, not in this one")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from tests.training.conftest import make_toy  # noqa: E402
from training.config.quantize import Quantize  # noqa: E402
from training.quantize.awq import (  # noqa: E402
    Packed,
    dequantize,
    dequantize_folder,
    fake_quantize,
    pack,
    quantize_folder,
    round_to_grid,
)

ROOT = Path(__file__).parents[3]
QUANTIZE_PYTHON = ROOT / ".envs" / "quantise" / "bin" / "python"
GROUP = 32
SETTINGS = Quantize(bits=4, group_size=GROUP, search=False, keep=("q_proj", "k_proj", "v_proj"))

AUTOAWQ = """
import sys, types, torch
from awq.modules.linear import WQLinear_GEMM
from awq.quantize.quantizer import AwqQuantizer
from safetensors.torch import load_file, save_file
weight = load_file(sys.argv[1])["weight"]
linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False).half()
linear.weight.data = weight.half()
quantizer = types.SimpleNamespace(group_size=int(sys.argv[3]), w_bit=4, zero_point=True)
linear.weight.data, scales, zeros = AwqQuantizer.pseudo_quantize_tensor(quantizer, linear.weight.data)
packed = WQLinear_GEMM.from_linear(linear, 4, int(sys.argv[3]), False, scales.t().contiguous(), zeros.t().contiguous())
save_file({name: getattr(packed, name).contiguous() for name in ("qweight", "qzeros", "scales")}, sys.argv[2])
"""
"""AutoAWQ's own rounding and packing of one weight, as its quantizer calls them: input, output, group size."""


@st.composite
def weights(draw: st.DrawFn) -> Any:
    """Weights (out, in) as layers have them: out by eights, in by groups, of any scale, some groups of one sign."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    out, groups = 8 * draw(st.integers(1, 4)), draw(st.integers(1, 3))
    weight = torch.randn(out, groups * GROUP, generator=generator) * draw(st.sampled_from([1e-4, 0.02, 1.0, 30.0]))
    weight[0] = weight[0].abs() * draw(st.sampled_from([1, -1, 0]))
    return weight.to(draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16])))


@settings(deadline=None)
@given(weights())
def test_what_is_packed_dequantizes_to_what_training_rounded(weight: Any) -> None:
    packed = pack(round_to_grid(weight, GROUP))
    assert packed.qweight.shape == (weight.shape[1], weight.shape[0] // 8)
    assert packed.qzeros.shape == (weight.shape[1] // GROUP, weight.shape[0] // 8)
    multiplied_out = dequantize(packed)
    assert multiplied_out.dtype == torch.float32
    assert torch.equal(multiplied_out, fake_quantize(weight.float(), GROUP))
    assert torch.equal(multiplied_out.to(weight.dtype), fake_quantize(weight, GROUP))


@settings(deadline=None)
@given(weights())
def test_a_packed_grid_is_read_back_code_for_code(weight: Any) -> None:
    grid = round_to_grid(weight, GROUP)
    assert grid.codes.min() >= 0 and grid.codes.max() <= 15
    assert grid.zeros.min() >= 0 and grid.zeros.max() <= 15
    unit = pack(grid)._replace(scales=torch.ones_like(pack(grid).scales))
    zeros = grid.zeros.repeat_interleave(GROUP, 1)
    assert torch.equal(dequantize(unit), (grid.codes - zeros).float())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, 0.02), (torch.float32, 1.0), (torch.float16, 30.0)])
def test_autoawq_packs_the_same_bits(dtype: Any, scale: float, tmp_path: Path) -> None:
    if not QUANTIZE_PYTHON.exists():
        pytest.skip(f"{QUANTIZE_PYTHON} is not there: `make .envs/quantise/.complete`")
    weight = (torch.randn(64, 4 * GROUP, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    given_file, out = tmp_path / "weight.safetensors", tmp_path / "packed.safetensors"
    save_file({"weight": weight}, given_file)
    command = [str(QUANTIZE_PYTHON), "-c", AUTOAWQ, str(given_file), str(out), str(GROUP)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs, ours = load_file(out), pack(round_to_grid(weight, GROUP))
    for name, tensor in ours._asdict().items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("architecture", ["mistral", "mixtral"])
def test_a_folder_is_packed_and_dequantized_again(architecture: str, tmp_path: Path) -> None:
    merged, quantized, out = make_toy(tmp_path / "merged", architecture), tmp_path / "awq", tmp_path / "dequantized"
    quantize_folder(merged, SETTINGS, quantized)
    dequantize_folder(quantized, out)
    before, packed, after = (load_file(folder / "model.safetensors") for folder in (merged, quantized, out))
    layers = {name.removesuffix(".qweight") for name in packed if name.endswith(".qweight")}
    kinds = {layer.rpartition(".")[2] for layer in layers}
    mlp = {"gate_proj", "up_proj", "down_proj"} if architecture == "mistral" else {"w1", "w2", "w3"}
    assert kinds == {"o_proj"} | mlp
    assert before.keys() == after.keys()
    for name, weight in before.items():
        layer = name.removesuffix(".weight")
        wanted = fake_quantize(weight.float(), GROUP) if layer in layers else weight.float()
        assert torch.equal(after[name], wanted), name
    routers = [name for name in packed if ".gate." in name]
    assert all(torch.equal(packed[name], before[name]) for name in routers)
    assert len(routers) == (2 if architecture == "mixtral" else 0)
    kept = ["q_proj", "k_proj", "v_proj", *(["gate"] if routers else [])]
    assert json.loads((quantized / "config.json").read_text())["quantization_config"] == {
        "bits": 4, "group_size": GROUP, "quant_method": "awq", "version": "gemm",
        "modules_to_not_convert": kept, "zero_point": True,
    }  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "float32"
    assert (out / "tokenizer.json").exists()


def test_a_layer_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "awq"
    folder.mkdir()
    parts = Packed(*(torch.zeros(1, 1) for _ in Packed._fields))._asdict()
    del parts["scales"]
    save_file({f"model.layers.0.o_proj.{name}": part for name, part in parts.items()}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.layers\.0\.o_proj lacks one of qweight, qzeros, scales"):
        dequantize_folder(folder, tmp_path / "out")

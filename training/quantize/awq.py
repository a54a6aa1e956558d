"""AWQ's 4-bit layout: rounding, packing and dequantization.

A weight of shape (out, in) is cut along `in` into groups of `group_size`. Each group has a scale and a zero point, so
that weight = (code - zero) * scale with codes from 0 to 15. The gemm layout (AutoAWQ 0.2.9, `WQLinear_GEMM`) stores
`qweight` (in, out / 8) and `qzeros` (in / group_size, out / 8) as int32 with eight codes each, and `scales`
(in / group_size, out) as float16.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from training.artifacts import TOKENIZER_FILES, read_json, write_json
from training.config.quantize import Quantize

MAX_CODE = 15
"""The largest 4-bit code."""
NIBBLE_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""The output column, of eight, that each nibble holds, lowest nibble first."""
PROJECTIONS = ("_proj.weight", ".w1.weight", ".w2.weight", ".w3.weight")
"""Name suffixes of the projection weights; w1 to w3 are those of Mixtral's experts."""
ROUTER = "gate"
"""The layer of a mixture of experts that chooses among them, which stays in 16 bits."""
INDEX = "model.safetensors.index.json"


class QuantizedWeight(NamedTuple):
    """A weight on its 4-bit grid: `codes` (out, in), `zeros` and `scales` (out, in / group_size), all in float16."""

    codes: torch.Tensor
    zeros: torch.Tensor
    scales: torch.Tensor


class Packed(NamedTuple):
    """The three tensors of a quantized layer in the gemm layout."""

    qweight: torch.Tensor
    qzeros: torch.Tensor
    scales: torch.Tensor


def round_to_grid(weight: torch.Tensor, group_size: int) -> QuantizedWeight:
    """Round each group of a row to 16 even steps from its minimum to its maximum.

    Computes in float16 and in AutoAWQ's order of operations, so that both agree bit for bit.
    """
    groups = weight.half().reshape(-1, group_size)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scales = (high - low).clamp(min=1e-5) / MAX_CODE
    zeros = (-torch.round(low / scales)).clamp_(0, MAX_CODE)
    codes = torch.clamp(torch.round(groups / scales) + zeros, 0, MAX_CODE)
    rows = weight.shape[0]
    return QuantizedWeight(codes.reshape(weight.shape), zeros.reshape(rows, -1), scales.reshape(rows, -1))


def fake_quantize(weight: torch.Tensor, group_size: int) -> torch.Tensor:
    """Return the weight after 4-bit rounding, in its own dtype; in float32 it equals `dequantize` of the packed one."""
    codes, zeros, scales = (part.float() for part in round_to_grid(weight, group_size))
    groups = codes.reshape(-1, group_size)
    return ((groups - zeros.reshape(-1, 1)) * scales.reshape(-1, 1)).reshape(weight.shape).to(weight)


def pack(grid: QuantizedWeight) -> Packed:
    """Transpose and pack a quantized weight into the gemm layout."""
    return Packed(_pack(grid.codes.t()), _pack(grid.zeros.t()), grid.scales.t().contiguous())


def dequantize(packed: Packed) -> torch.Tensor:
    """Return the packed weight (out, in) in float32."""
    codes, zeros, scales = _unpack(packed.qweight), _unpack(packed.qzeros), packed.scales.float()
    group_size = codes.shape[0] // scales.shape[0]
    weight = (codes.reshape(-1, group_size, codes.shape[1]) - zeros[:, None]) * scales[:, None]
    return weight.reshape(codes.shape).t().contiguous()


def quantize_folder(merged: Path, settings: Quantize, folder: Path) -> None:
    """Write `merged` with every layer's projections packed to 4 bits, without a search for scales.

    Embeddings, head, norms, routers and the layers named in `settings.keep` are copied unchanged.
    """

    def packed(tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in tensors:
            if not _is_quantized(name, tensor, settings.keep):
                yield name, tensor
                continue
            layer = name.removesuffix(".weight")
            for part, value in pack(round_to_grid(tensor, settings.group_size))._asdict().items():
                yield f"{layer}.{part}", value

    _convert(merged, folder, packed)
    config = read_json(merged / "config.json")
    kept = [*settings.keep, *([ROUTER] if config.get("num_local_experts") else [])]
    scheme = {"bits": settings.bits, "group_size": settings.group_size, "quant_method": "awq", "version": "gemm"}
    scheme |= {"modules_to_not_convert": kept or None, "zero_point": True}
    write_json(folder / "config.json", {**config, "quantization_config": scheme})


def dequantize_folder(quantized: Path, folder: Path) -> None:
    """Write AWQ weights dequantized to float32, for machines without a 4-bit kernel."""

    def dequantized(tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors:
            layer, _, part = name.rpartition(".")
            if part not in Packed._fields:
                yield name, tensor.float() if tensor.is_floating_point() else tensor
                continue
            parts.setdefault(layer, {})[part] = tensor
            if len(parts[layer]) == len(Packed._fields):
                yield f"{layer}.weight", dequantize(Packed(**parts.pop(layer)))
        if parts:
            raise ValueError(f"{quantized}: {min(parts)} lacks one of {', '.join(Packed._fields)}")

    _convert(quantized, folder, dequantized)
    config = read_json(quantized / "config.json")
    del config["quantization_config"]
    write_json(folder / "config.json", {**config, "dtype": "float32"})


def _is_quantized(name: str, tensor: torch.Tensor, keep: Sequence[str]) -> bool:
    projection = ".layers." in name and name.endswith(PROJECTIONS) and tensor.ndim == 2
    return projection and not any(part in name for part in keep)


def _convert(source: Path, folder: Path, convert: Any) -> None:
    """Apply `convert` to the tensors of each file of `source`; write files of the same names and copy the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    files, weight_map = sorted(source.glob("*.safetensors")), dict[str, str]()
    for path in files:
        tensors = dict(convert(_tensors(path)))
        save_file(tensors, folder / path.name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, path.name)
    if len(files) > 1:
        write_json(folder / INDEX, {"metadata": {}, "weight_map": weight_map})
    for name in (*TOKENIZER_FILES, "generation_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            yield name, file.get_tensor(name)


def _pack(codes: torch.Tensor) -> torch.Tensor:
    columns = codes.to(torch.int32).reshape(codes.shape[0], -1, len(NIBBLE_ORDER))
    packed = torch.zeros(columns.shape[:2], dtype=torch.int32)
    for nibble, column in enumerate(NIBBLE_ORDER):
        packed |= columns[:, :, column] << (4 * nibble)
    return packed


def _unpack(packed: torch.Tensor) -> torch.Tensor:
    codes = torch.empty(*packed.shape, len(NIBBLE_ORDER))
    for nibble, column in enumerate(NIBBLE_ORDER):
        codes[:, :, column] = (packed >> (4 * nibble)) & 0xF
    return codes.reshape(packed.shape[0], -1)

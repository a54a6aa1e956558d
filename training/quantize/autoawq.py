"""Merged bf16 weights -> 4-bit AWQ, with AutoAWQ's search for scales, in its environment: its pins conflict with all
the rest. Without a search, `training.quantize.awq` writes the same layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.artifacts import TOKENIZER_FILES, write_json
from training.config import Quantize
from training.precision import training_dtype


def quantize(merged: Path, calibration: list[list[int]], settings: Quantize, folder: Path) -> None:
    """Write AWQ weights (gemm layout, which vLLM loads on GPU and CPU); embeddings and head stay in bf16.

    `calibration` holds token ids of prompts and answers in the served template. AutoAWQ drops a sample that
    is longer than allowed, and wants a whole one in all, so both are errors here.
    """
    import torch
    from awq import AutoAWQForCausalLM

    longest, tokens = max(map(len, calibration), default=0), sum(map(len, calibration))
    if not 0 < longest <= settings.max_length <= tokens:
        raise ValueError(
            f"{tokens} tokens to calibrate on in samples of up to {longest}: {settings.max_length} are allowed in a "
            "sample, and wanted in all"
        )
    with tempfile.TemporaryDirectory() as readable:
        _for_transformers_4(merged, Path(readable))
        model = AutoAWQForCausalLM.from_pretrained(
            readable, torch_dtype=training_dtype(), device_map="cpu", use_cache=False, safetensors=True
        )
        scheme = {"zero_point": True, "q_group_size": settings.group_size, "w_bit": 4, "version": "GEMM"}
        model.quantize(
            None,
            quant_config=scheme,
            calib_data=calibration,
            max_calib_samples=len(calibration),
            max_calib_seq_len=settings.max_length,
            quantizer_cls=_quantizer(settings.keep),
        )
        model.quant_config.modules_to_not_convert = list(settings.keep) or None
        for weight in model.parameters():
            weight.data = weight.data.to(torch.bfloat16)
        model.save_quantized(str(folder))
    quantisation = json.loads((folder / "config.json").read_text())["quantization_config"]
    write_json(folder / "config.json", {**_config(merged), "quantization_config": quantisation})
    for name in TOKENIZER_FILES:
        if (merged / name).exists():
            shutil.copyfile(merged / name, folder / name)


def _quantizer(keep: Sequence[str]) -> type:
    """AutoAWQ's quantizer, mended and told what to leave out.

    It tries scales on the weights and then restores them from a copy on the CPU. Where they are on the CPU already,
    that copy is the weights themselves, which stay scaled: here it is a real one. Layers to keep take part in the
    search, which leaves what they compute as it is; AutoAWQ, told to exclude them, would miss their inputs there.
    """
    from awq.quantize.quantizer import AwqQuantizer

    class Quantizer(AwqQuantizer):  # type: ignore[misc]
        def _compute_best_scale(
            self, x: Any, w_mean: Any, x_mean: Any, module2inspect: Any, *others: Any, **named: Any
        ) -> Any:
            state_dict = module2inspect.state_dict
            module2inspect.state_dict = lambda: {name: value.clone() for name, value in state_dict().items()}
            try:
                return super()._compute_best_scale(x, w_mean, x_mean, module2inspect, *others, **named)
            finally:
                del module2inspect.state_dict

        def _search_best_clip(self, layer: Any, named_linears: dict[str, Any], input_feat: Any) -> Any:
            return super()._search_best_clip(layer, _without(named_linears, keep), input_feat)

        def _apply_quant(self, module: Any, named_linears: dict[str, Any]) -> None:
            super()._apply_quant(module, _without(named_linears, keep))

    return Quantizer


def _without(layers: dict[str, Any], keep: Sequence[str]) -> dict[str, Any]:
    return {name: layer for name, layer in layers.items() if not any(part in name for part in keep)}


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def _for_transformers_4(merged: Path, folder: Path) -> None:
    """AutoAWQ is pinned to transformers 4, which knows the rotary base and the dtype under older names."""
    config = _config(merged)
    if "rope_parameters" in config:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype", "bfloat16")
    write_json(folder / "config.json", config)
    for path in merged.glob("*.safetensors*"):
        (folder / path.name).symlink_to(path.resolve())

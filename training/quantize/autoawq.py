"""4-bit AWQ quantization with AutoAWQ's search for scales.

Runs in a separate environment, because AutoAWQ's pins conflict with the others. Without a search,
`training.quantize.awq` writes the same layout.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.artifacts import TOKENIZER_FILES, read_json, write_json
from training.config.quantize import Quantize
from training.precision import training_dtype
from training.quantize.awq import ROUTER


def quantize(merged: Path, calibration: list[list[int]], settings: Quantize, folder: Path) -> None:
    """Write AWQ weights in the gemm layout, which vLLM loads on GPU and CPU; embeddings and head stay in bf16.

    `calibration` holds token ids of prompts and answers in the served template. Raises `ValueError` for a sample
    longer than `max_length`, which AutoAWQ would drop, and for fewer than `max_length` tokens in total.
    """
    import torch
    from awq import AutoAWQForCausalLM

    longest, tokens = max(map(len, calibration), default=0), sum(map(len, calibration))
    if not 0 < longest <= settings.max_length <= tokens:
        raise ValueError(
            f"calibration has {tokens} tokens in samples of up to {longest}: a sample may have at most "
            f"{settings.max_length}, and all samples together need at least as many"
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
        routers = model.quant_config.modules_to_not_convert or []  # AutoAWQ names those of a mixture of experts
        model.quant_config.modules_to_not_convert = [*settings.keep, *routers] or None
        for weight in model.parameters():
            weight.data = weight.data.to(torch.bfloat16)
        model.save_quantized(str(folder))
    scheme = read_json(folder / "config.json")["quantization_config"]
    write_json(folder / "config.json", {**read_json(merged / "config.json"), "quantization_config": scheme})
    for name in TOKENIZER_FILES:
        if (merged / name).exists():
            shutil.copyfile(merged / name, folder / name)


def _quantizer(keep: Sequence[str]) -> type:
    """Return AutoAWQ's quantizer with two fixes and with the layers of `keep` excluded.

    AutoAWQ tries scales on the weights and restores them from a copy on the CPU. For weights already on the CPU that
    copy is the same memory, so they would stay scaled: here it is cloned. It divides the input of a mixture of experts
    by the scales and multiplies the experts' weights by them, but not the router's, which has the same input: here the
    router's are multiplied too. Kept layers take part in the search, which does not change their outputs; excluding
    them through AutoAWQ's own option would hide their inputs from it.
    """
    from awq.quantize.quantizer import AwqQuantizer
    from awq.utils.module import get_op_name

    class Quantizer(AwqQuantizer):  # type: ignore[misc]
        def _search_best_scale(
            self, module: Any, prev_op: Any, layers: Any, inp: Any, module2inspect: Any = None, **named: Any
        ) -> Any:
            before, scaled, scales = super()._search_best_scale(module, prev_op, layers, inp, module2inspect, **named)
            router = getattr(module2inspect, ROUTER, None)
            return before, scaled if router is None else (*scaled, get_op_name(module, router)), scales

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


def _for_transformers_4(merged: Path, folder: Path) -> None:
    """Write the config with transformers 4's names for rotary base and dtype, and link the weights."""
    config = read_json(merged / "config.json")
    if "rope_parameters" in config:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype", "bfloat16")
    write_json(folder / "config.json", config)
    for path in merged.glob("*.safetensors*"):
        (folder / path.name).symlink_to(path.resolve())

"""The base model, stored as a MistralForCausalLM folder with tokenizer and chat template."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from app.contract.manifest import sha256, verify
from training.artifacts import read_json, write_json
from training.config.base import Base
from training.config.finetune import Finetune
from training.finetune.memory import GIB, estimate, fitting, shape
from training.precision import training_dtype

READY = "base.json"
STORED_BYTES = 2


def prepare(base: Base, folder: Path) -> Path:
    """Return `folder` with the base weights in bf16, converted on first use; `base.json` is written last.

    Raises `UnusableModel` if the weights do not match their recorded hashes.
    """
    if not (folder / READY).exists():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder.mkdir(parents=True, exist_ok=True)
        source, options = _source(base)
        tokenizer = AutoTokenizer.from_pretrained(source, **_tokenizer_options(options))
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, **options)
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        convert_to_mistral(folder)
        weights = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
        write_json(folder / READY, {"name": base.name, "license": base.license, "weights": weights})
    verify(folder, read_json(folder / READY)["weights"])
    return folder


def _source(base: Base) -> tuple[str, dict[str, Any]]:
    if base.source == "hub":
        return str(base.repo), {"revision": base.revision, "use_safetensors": True}
    from transformers import GgufConfig

    spec = importlib.util.find_spec(str(base.package))
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package {base.package}, which contains {base.name}, is not installed")
    return str(Path(spec.origin).parent), {
        "gguf_file": base.file,
        "quantization_config": GgufConfig(dequantize=True),
    }


def _tokenizer_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ("revision", "gguf_file")}


def convert_to_mistral(folder: Path) -> None:
    """Relabel a Llama config as Mistral without sliding window, which is the same architecture."""
    config = read_json(folder / "config.json")
    if config["model_type"] == "llama":
        config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}
        for llama_only in ("attention_bias", "mlp_bias", "pretraining_tp"):
            config.pop(llama_only, None)
        write_json(folder / "config.json", config)


def require_memory(folder: Path, settings: Finetune, rounded: bool = False) -> None:
    """Raise `MemoryError` if training needs more than the process's GPU has free, naming settings that fit.

    Without a GPU, raise it unless the weights in the training's dtype plus 25% fit the RAM.
    """
    import torch

    itemsize = training_dtype().itemsize
    if not torch.cuda.is_available():
        wanted = sum(path.stat().st_size for path in folder.glob("*.safetensors")) * itemsize // STORED_BYTES * 5 // 4
        if wanted > (free := _available()):
            raise MemoryError(f"{folder.name} needs at least {wanted / GIB:.1f} GiB, {free / GIB:.1f} GiB are free")
        return
    free, base = torch.cuda.mem_get_info(local_rank())[0], shape(read_json(folder / "config.json"))
    needed = estimate(base, settings, itemsize, rounded)
    if needed.total > free:
        smaller = fitting(base, settings, free, itemsize, rounded)
        remedy = f"set {smaller}" if smaller else "no batch or storage of the weights fits: use a larger GPU"
        raise MemoryError(
            f"{folder.name} with batch = {settings.batch} and max_length = {settings.max_length} needs {needed}, "
            f"{free / GIB:.1f} GiB of the GPU are free: {remedy}"
        )


def local_rank() -> int:
    """Return the number of this process among those that accelerate starts on this machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def _available() -> int:
    """Return the bytes available without swapping (MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))

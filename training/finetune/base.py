"""The weights that are tuned, as an ordinary MistralForCausalLM folder with its tokenizer and chat template."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from app.contract.manifest import sha256, verify
from training.artifacts import write_json
from training.config import Base

READY = "base.json"
STORED_BITS = 16


def prepare(base: Base, folder: Path) -> Path:
    """Return `folder` with the base weights in bf16, made on first use; `base.json` is written last.

    Raises `UnusableModel` where they are not those that were written.
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
        as_mistral(folder)
        weights = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
        write_json(folder / READY, {"name": base.name, "license": base.license, "weights": weights})
    verify(folder, json.loads((folder / READY).read_text())["weights"])
    return folder


def _source(base: Base) -> tuple[str, dict[str, Any]]:
    if base.source == "hub":
        return str(base.repo), {"revision": base.revision, "use_safetensors": True}
    from transformers import GgufConfig

    spec = importlib.util.find_spec(str(base.package))
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package {base.package}, which carries {base.name}, is not installed")
    return str(Path(spec.origin).parent), {
        "gguf_file": base.file,
        "quantization_config": GgufConfig(dequantize=True),
    }


def _tokenizer_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ("revision", "gguf_file")}


def as_mistral(folder: Path) -> None:
    """Llama's architecture without sliding window is Mistral's: one code path for all that follows."""

    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "llama":
        config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}
        for llama_only in ("attention_bias", "mlp_bias", "pretraining_tp"):
            config.pop(llama_only, None)
        write_json(folder / "config.json", config)


def enough_memory(folder: Path, bits: int) -> None:
    """Raise `MemoryError` where the base, `bits` a weight, and a quarter more do not fit the GPU, or else here."""
    import torch

    wanted = sum(path.stat().st_size for path in folder.glob("*.safetensors")) * bits // STORED_BITS * 5 // 4
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else _available()
    if wanted > free:
        raise MemoryError(f"{folder.name} needs at least {wanted / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free")


def _available() -> int:
    """Bytes that Linux says can be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))

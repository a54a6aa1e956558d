"""How vLLM must be told to serve a model: what is measured in training is then what the gateway gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

OPTIONS: Mapping[str, str | None] = {
    "--host": "127.0.0.1",
    "--dtype": "bfloat16",
    "--tokenizer-mode": "hf",  # auto may take another tokenizer than the one trained with
    "--generation-config": "vllm",  # no sampling defaults from the model's folder
    "--max-model-len": "2048",
    "--enable-prefix-caching": None,
    "--enable-prompt-tokens-details": None,
    "--structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
    "--disable-uvicorn-access-log": None,
}

ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_INT4_W4A8": "0",  # 8-bit activations, where a CPU has them, would change the answers
    "VLLM_LOGGING_COLOR": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; without it vLLM wants nine tenths of the memory or does not start
}


def command(
    python: Path, weights: Path, model_id: str, port: int, more: Mapping[str, str | None] | None = None
) -> tuple[str, ...]:
    """The command line that serves `weights` under `model_id` on a loopback port."""
    own = {"--model": str(weights), "--served-model-name": model_id, "--port": str(port)}
    options = {**OPTIONS, **own, **(more or {})}
    words = (word for option in options.items() for word in option if word is not None)
    return (str(python), "-m", "vllm.entrypoints.openai.api_server", *words)

"""How vLLM serves a model: one set of options for training's evaluations and for the gateway's model server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from app.contract.hardware import Profile

OPTIONS: Mapping[str, str | None] = {
    "--host": "127.0.0.1",
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
    "VLLM_LOGGING_COLOR": "0",
    "PYTHONDONTWRITEBYTECODE": "",  # without bytecode files each start compiles vLLM's modules again, 8 s a process
}

CPU_ENVIRONMENT: Mapping[str, str] = {
    "VLLM_CPU_INT4_W4A8": "0",  # 8-bit activations, where a CPU has them, would change the answers
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; without it vLLM wants nine tenths of the memory or does not start
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # vLLM otherwise leaves one core idle
}

SINGLE_PROCESS_CORES = 8
"""Up to so many cores engine and worker share a process, which starts 9 s sooner. Above, vLLM binds its workers'
threads to cores and memory nodes, which needs separate processes."""

PRELOADED = {
    "libtcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
    "libiomp5": ("libiomp5.so",),
}
"""Libraries that make vLLM faster on a CPU, by their file names."""
SYSTEM_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")


def command(
    python: Path,
    weights: Path,
    model_id: str,
    port: int,
    profile: Profile,
    more: Mapping[str, str | None] | None = None,
) -> tuple[str, ...]:
    """Return the command line that serves `weights` under `model_id` on a loopback port."""
    own = {"--model": str(weights), "--served-model-name": model_id, "--port": str(port), "--dtype": profile.dtype}
    eager: dict[str, str | None] = {} if profile.compiled else {"--enforce-eager": None}
    single = {"--distributed-executor-backend": "uni"} if _single_process(profile) else {}
    options = {**OPTIONS, **own, **eager, **single, **(more or {})}
    words = (word for option in options.items() for word in option if word is not None)
    return (str(python), "-m", "vllm.entrypoints.openai.api_server", *words)


def environment(python: Path, profile: Profile, cache: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return vLLM's environment: `inherited`, what the profile adds, and `cache` for compiled code."""
    compiled = {"VLLM_CACHE_ROOT": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
    if profile.device == "gpu":
        return {**inherited, **ENVIRONMENT, **compiled}
    single = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if _single_process(profile) else {}
    threads = {"OMP_NUM_THREADS": str(profile.threads)} if _single_process(profile) else {}
    found = ":".join(filter(None, (inherited.get("LD_PRELOAD"), *map(str, preloaded(python)))))
    preload = {"LD_PRELOAD": found} if found else {}
    return {**inherited, **ENVIRONMENT, **CPU_ENVIRONMENT, **compiled, **single, **threads, **preload}


def preloaded(python: Path) -> list[Path]:
    """Return the libraries to preload that are found: beside the interpreter, in .envs/tools, or in the system."""
    environments = python.parents[2]
    tools = [environments / "tools" / folder.lstrip("/") for folder in SYSTEM_LIBRARIES]
    folders = [python.parents[1] / "lib", *tools, *map(Path, SYSTEM_LIBRARIES)]
    candidates = ([folder / name for folder in folders for name in names] for names in PRELOADED.values())
    return [found for paths in candidates if (found := next(filter(Path.exists, paths), None))]


def _single_process(profile: Profile) -> bool:
    return profile.device == "cpu" and profile.threads <= SINGLE_PROCESS_CORES

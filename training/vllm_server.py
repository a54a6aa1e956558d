"""A vLLM server that runs for the duration of a stage, configured by the hardware profile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.contract import compile_cache, serving
from app.contract.hardware import Profile
from training.artifacts import read_json
from training.server import free_port, running

CACHE = Path(".run/vllm-training")
"""vLLM's compilation cache; separate from the gateway's server, which may be running."""
COMPILING = "vllm-training.compiling"
"""A file beside the cache that exists from a start until vLLM is ready."""
LOADING_S = 900


@contextmanager
def serve(
    python: Path, weights: Path, model_id: str, log: Path, profile: Profile, adapter: Path | None = None
) -> Iterator[str]:
    """Serve the weights on a free loopback port and yield the URL; stop the server on exit.

    With an adapter, the model id names the adapter, unmerged on its base.
    """
    port, cache, python = free_port(), CACHE.absolute(), python.absolute()
    own_id = model_id if adapter is None else f"{weights.name}-base"
    how = with_adapter(profile) if adapter else profile
    marker = cache.with_name(COMPILING)
    compile_cache.clear_after_crash(cache, marker)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    lora = _lora(adapter, model_id) if adapter else None
    command = serving.command(python, weights, own_id, port, how, lora)
    environment = serving.environment(python, how, cache, os.environ)
    with running("vLLM", command, environment, f"http://127.0.0.1:{port}/v1/models", log, LOADING_S):
        marker.unlink()
        yield f"http://127.0.0.1:{port}/v1"


def with_adapter(profile: Profile) -> Profile:
    """Return the profile for a base with an adapter, which vLLM does not compile on a CPU."""
    return replace(profile, compiled=profile.compiled and profile.device == "gpu")


def _lora(adapter: Path, model_id: str) -> dict[str, str | None]:
    rank = read_json(adapter / "adapter_config.json")["r"]
    return {"--enable-lora": None, "--max-lora-rank": str(rank), "--lora-modules": f"{model_id}={adapter}"}

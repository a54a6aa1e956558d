"""A vLLM server that runs for the duration of a stage, configured by the hardware profile."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from app.contract import compile_cache, serving
from app.contract.hardware import Profile
from app.stores.parent_death import ending_with_parent
from training.artifacts import read_json

CACHE = Path(".run/vllm-training")
"""vLLM's compilation cache; separate from the gateway's server, which may be running."""
COMPILING = "vllm-training.compiling"
"""A file beside the cache that exists from a start until vLLM is ready."""
LOADING_S = 900
STOPPING_S = 30


class NotServed(ValueError):
    """vLLM did not start; see its log."""


@contextmanager
def serve(
    python: Path, weights: Path, model_id: str, log: Path, profile: Profile, adapter: Path | None = None
) -> Iterator[str]:
    """Serve the weights on a free loopback port and yield the URL; stop the server on exit.

    With an adapter, the model id names the adapter, unmerged on its base.
    """
    port, cache, python = _free_port(), CACHE.absolute(), python.absolute()
    own_id = model_id if adapter is None else f"{weights.name}-base"
    how = with_adapter(profile) if adapter else profile
    marker = cache.with_name(COMPILING)
    compile_cache.clear_after_crash(cache, marker)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    with log.open("w") as output:
        lora = _lora(adapter, model_id) if adapter else None
        child = subprocess.Popen(
            ending_with_parent(*serving.command(python, weights, own_id, port, how, lora)),
            env=serving.environment(python, how, cache, os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(child, f"http://127.0.0.1:{port}/v1/models", log)
            marker.unlink()
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.terminate()
            try:
                child.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def with_adapter(profile: Profile) -> Profile:
    """Return the profile for a base with an adapter, which vLLM does not compile on a CPU."""
    return replace(profile, compiled=profile.compiled and profile.device == "gpu")


def _lora(adapter: Path, model_id: str) -> dict[str, str | None]:
    rank = read_json(adapter / "adapter_config.json")["r"]
    return {"--enable-lora": None, "--max-lora-rank": str(rank), "--lora-modules": f"{model_id}={adapter}"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + LOADING_S
    while time.monotonic() < until:
        if child.poll() is not None:
            raise NotServed(f"vLLM ended with {child.returncode} while loading, see {log}")
        try:
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise NotServed(f"vLLM did not answer within {LOADING_S} s, see {log}")

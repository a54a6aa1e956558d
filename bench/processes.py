"""`conviction serve` and the stand-in as processes, with an embedded store unless REDIS_URL is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.gateway.programs import free_port, listens

ROOT = Path(__file__).parents[1]
START_S = 30.0


def _serving(upstream: int) -> dict[str, str]:
    """Return the settings of a gateway in front of a stand-in that answers as both backends."""
    url = f"http://127.0.0.1:{upstream}/v1"
    return {
        "CONVICTION_VLLM_URLS": url,
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-stand-in",
        "CONVICTION_HOSTING_USD_PER_HOUR": "0.10",
        "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "100000",
        "CONVICTION_MARKET": "sample",
    }


@contextmanager
def running(port: int, *command: str, **environment: str) -> Iterator[None]:
    """Start `conviction` as a process that listens on a port."""
    inherited = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *command],
        env=inherited,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_S
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"conviction {command[0]} did not start")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def stand_in() -> Iterator[int]:
    """Start a stand-in; yield its port."""
    port = free_port()
    with running(port, "stand-in", "--port", str(port)):
        yield port


@contextmanager
def gateway(upstream: int, **settings: str) -> Iterator[int]:
    """Start a gateway in front of a stand-in; yield its port."""
    port = free_port()
    with running(port, "serve", **_serving(upstream), **settings, CONVICTION_PORT=str(port)):
        yield port

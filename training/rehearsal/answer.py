"""One question to the gateway in front of vLLM with a run's 4-bit weights."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.contract.fingerprint import EXAMPLE
from training.evaluation.clients import Prediction, connect
from training.pipeline import Run
from training.plan import CannotRun, missing
from training.server import free_port, running

STARTING_S = 120
ANSWER_S = 300
SETTINGS = ("CONVICTION_", "OPENAI_", "OTEL_", "REDIS_", "AWS_")
"""Prefixes of the gateway's settings, which are not inherited."""


def answer(run: Run) -> None:
    """Serve the 4-bit weights, start the gateway, and ask it for a brief recommendation.

    Raises `CannotRun`, `NotServed`, and `ValueError` for an answer that does not follow the grammar.
    """
    if problems := list(missing(run.plan.environments.vllm)):
        raise CannotRun(*problems)
    start = time.monotonic()
    with run.served("awq") as vllm:
        loaded = time.monotonic() - start
        with gateway(vllm, run.artifacts.stage("answer") / "gateway.log") as url:
            found = asyncio.run(_ask(url))
    if found.action is None:
        raise ValueError(f"the gateway's answer failed: {found.failure}")
    manifest = {"served": str(run.plan.served("awq")), "loading_seconds": round(loaded, 1)}
    answered = {"action": found.action, "conviction": found.conviction, "tokens": found.completion_tokens}
    run.artifacts.complete("answer", {**manifest, **answered, "seconds": round(found.seconds, 2)})


@contextmanager
def gateway(vllm: str, log: Path) -> Iterator[str]:
    """Run a gateway with default settings on a free loopback port, and yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"CONVICTION_VLLM_URLS": vllm, "CONVICTION_PORT": str(port), "CONVICTION_MARKET": "sample"}
    own |= {"CONVICTION_DRAIN_S": "0", "CONVICTION_BACKEND_TIMEOUT_S": str(ANSWER_S)}
    own |= {"CONVICTION_FIRST_TOKEN_TIMEOUT_S": str(ANSWER_S)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    command = (sys.executable, "-m", "app.cli", "serve")
    with running("the gateway", command, {**inherited, **own}, f"{url}/health/ready", log, STARTING_S):
        yield url


async def _ask(url: str) -> Prediction:
    async with httpx.AsyncClient(timeout=2 * ANSWER_S) as client:
        gate = await connect(client, url, "mistral", None)
        return await gate.ask("SNPS", EXAMPLE, "brief")

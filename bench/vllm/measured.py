"""One option, measured: a first start with an empty cache of compiled code, a second start, then its speed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import aiohttp

from app.contract import serving
from app.supervisor.ports import available_port
from app.supervisor.process import Process, Program
from app.supervisor.vllm import SECRETS
from bench.vllm.client import Client, Plan
from bench.vllm.options import Setup

STARTING_S = 900.0
ANSWER_S = 600.0
POLL_S = 0.1
LOOPBACK = "127.0.0.1"


class NotStarted(Exception):
    """vLLM ended, or did not listen in time."""


@dataclass(frozen=True)
class Started:
    """A running vLLM and how long it took to start."""

    client: Client
    seconds: dict[str, float]


async def measured(setup: Setup, python: Path, log: Path, plan: Plan) -> dict[str, Any]:
    """Return an option's figures; its log holds both starts."""
    with TemporaryDirectory(prefix="conviction-vllm-") as cache:
        async with started(setup, python, Path(cache), log) as first:
            first_start = first.seconds
        async with started(setup, python, Path(cache), log) as later:
            figures = {"first_start": first_start, "later_start": later.seconds, **await later.client.alone(plan)}
            return figures | await later.client.loads(plan.loads)


@asynccontextmanager
async def started(setup: Setup, python: Path, cache: Path, log: Path) -> AsyncIterator[Started]:
    """Start vLLM and ask it once; stop it and all that it started afterwards."""
    port = available_port(LOOPBACK, 0)
    command = serving.command(python, setup.weights, setup.model_id, port, setup.profile)
    began = monotonic()
    process = Process.start(Program("vLLM", command, environment(setup, python, cache), log))
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as session:
            url = f"http://{LOOPBACK}:{port}"
            await listening(session, url, process, log)
            seconds = {"listening_s": round(monotonic() - began, 1)}
            client = Client(session, url, setup.model_id)
            await client.ask("brief")
            yield Started(client, seconds | {"first_answer_s": round(monotonic() - began, 1)})
    finally:
        await process.stop()


def environment(setup: Setup, python: Path, cache: Path) -> dict[str, str]:
    """Return vLLM's environment with the option's variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    variables: dict[str, str | None] = {
        **serving.environment(python, setup.profile, cache, inherited),
        **setup.environment,
    }
    return {name: value for name, value in variables.items() if value is not None}


async def listening(session: aiohttp.ClientSession, url: str, process: Process, log: Path) -> None:
    """Return once /health answers; raise `NotStarted` where vLLM ends before, or takes too long."""
    ended = asyncio.create_task(process.ended())
    try:
        async with asyncio.timeout(STARTING_S):
            while not await _healthy(session, url):
                if ended.done():
                    raise NotStarted(f"vLLM ended with status {ended.result()}: {log}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise NotStarted(f"vLLM did not listen within {STARTING_S:.0f} s: {log}") from None
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


async def _healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/health") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False

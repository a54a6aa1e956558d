"""The deployment on one machine: three gateways behind HAProxy, one Valkey, two model servers, and OpenAI's stand-in.

client ──► haproxy ──► gateway-1, -2, -3 ──► model-1, model-2
                              └──► valkey    └──► gpt-4 (a stand-in)
"""

from __future__ import annotations

import asyncio
import csv
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.supervisor.ports import available_port
from app.supervisor.process import Program
from app.supervisor.vllm import LOADING_S, clear_cache_after_crash
from deploy.loadtest import model_server, settings
from deploy.loadtest.parts import Part, ScaleError, until
from deploy.loadtest.settings import Keys

GATEWAYS, MODELS = 3, 2
TIMEOUT_S = 90.0


@dataclass
class Stack:
    """The running deployment."""

    folder: Path
    keys: Keys
    url: str
    """The balancer's URL, for clients."""
    replicas: tuple[str, ...]
    """Each gateway's own URL."""
    servers: tuple[str, ...]
    """The model servers' URLs."""
    real: bool
    """Whether the model servers are vLLM."""
    parts: dict[str, Part]
    client: httpx.AsyncClient
    redis: Redis

    @property
    def gateways(self) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith("gateway-")]

    async def balanced(self) -> set[str]:
        """Return the gateways that HAProxy sends requests to."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.folder / "haproxy.sock")
        except OSError:
            return set()
        writer.write(b"show stat\n")
        text = (await reader.read()).decode()
        writer.close()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"] for row in rows if row["status"] == "UP" and row["svname"].startswith("gateway-")}

    async def whole(self) -> bool:
        """Return whether every part answers and HAProxy sends requests to every gateway."""
        answers = await asyncio.gather(*(part.answers() for part in self.parts.values()))
        return all(answers) and len(await self.balanced()) == GATEWAYS

    async def calls(self, server: str) -> int:
        """Return the completions that a model server has begun since its start; 0 if it does not answer."""
        try:
            return await model_server.calls(self.client, server, real=self.real)
        except httpx.TransportError:
            return 0


@asynccontextmanager
async def running(folder: Path, *, real: bool) -> AsyncIterator[Stack]:
    """Start all parts, yield when ready, and stop them. Raises `ScaleError`, and `CannotUse` without weights."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        raise ScaleError("haproxy is not installed (Debian: apt-get install --no-install-recommends haproxy)")
    ports = [available_port("127.0.0.1", 0) for _ in range(3 + GATEWAYS + MODELS)]
    front, store, gpt4, *rest = ports
    gateways, models = rest[:GATEWAYS], rest[GATEWAYS:]
    keys = Keys.drawn()
    settings.write_files(folder, keys)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False))
        redis = Redis(port=store, decode_responses=True, socket_timeout=TIMEOUT_S)
        stack.push_async_callback(redis.aclose)
        made = Stack(
            folder,
            keys,
            _origin(front),
            tuple(map(_origin, gateways)),
            tuple(map(_origin, models)),
            real,
            {},
            client,
            redis,
        )

        async def start(programs: Sequence[Program], answers: Sequence[Callable[[], Awaitable[bool]]]) -> None:
            for each, look in zip(programs, answers, strict=True):
                part = made.parts[each.name] = Part(each, look, partial(clear_cache_after_crash, each))
                part.start()
                stack.push_async_callback(part.stop)
            for part in made.parts.values():
                await until(part.answers, f"{part.name} starts ({part.program.log})", LOADING_S)

        await start(
            [
                settings.valkey(folder, store),
                settings.stand_in("gpt-4", folder, gpt4, hosted=False),
                *model_server.programs(folder, models, real=real),
            ],
            [lambda: _pings(redis), *(_getting(client, f"{_origin(port)}/health") for port in (gpt4, *models))],
        )
        await start(
            [settings.gateway(n, folder, port, store, models, gpt4) for n, port in enumerate(gateways, 1)],
            [_getting(client, f"{_origin(port)}/health/ready") for port in gateways],
        )
        await start(
            [settings.haproxy(program, folder, front, gateways)], [_getting(client, f"{made.url}/health/ready")]
        )
        await until(made.whole, "haproxy finds every gateway ready")
        yield made


def _origin(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _getting(client: httpx.AsyncClient, url: str) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        try:
            return (await client.get(url, timeout=5)).status_code == 200
        except httpx.TransportError:
            return False

    return answers


async def _pings(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except (RedisError, OSError):
        return False

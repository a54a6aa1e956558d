"""vLLM: its arguments, its environment, and when it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from app.backends.base import Backend
from app.contract import serving
from app.settings import UpSettings
from app.supervisor import golden
from app.supervisor.failures import CannotUse
from app.supervisor.files import fresh_log
from app.supervisor.process import Program
from app.supervisor.screen import Screen
from app.supervisor.service import NotReady
from app.supervisor.weights import Weights

LOADING_S = 900.0
"""After which one that does not answer is started again; the first start compiles for minutes."""

POLL_S = 0.5
SECRETS = ("OPENAI_", "CONVICTION_", "REDIS_")
"""What variables begin with that are none of its business."""


def program(weights: Weights, settings: UpSettings, port: int, inherited: Mapping[str, str]) -> Program:
    """Checks the weights' hashes: this is called before every start."""
    weights.verify()
    python = settings.vllm_python.absolute()
    if not python.exists():
        raise CannotUse(f"{settings.vllm_python} does not exist; CONVICTION_VLLM_PYTHON names vLLM's interpreter")
    return Program(
        "vLLM",
        serving.command(python, weights.folder, weights.model_id, port),
        environment(settings, inherited),
        fresh_log(settings.run_dir, "vllm"),
    )


def environment(settings: UpSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What it inherits but for secrets; it looks nothing up outside and reports to nobody."""
    return {
        **{name: value for name, value in inherited.items() if not name.startswith(SECRETS)},
        **serving.ENVIRONMENT,
        "VLLM_CACHE_ROOT": str(settings.run_dir.absolute() / "vllm"),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.vllm_cache_gib),
    }


async def become_ready(backend: Backend, screen: Screen, log: Path) -> None:
    """Return once a real question is answered. Raises `NotReady` if that takes too long."""
    async with screen.waiting("vLLM is loading", f"its log is {log}"):
        try:
            async with asyncio.timeout(LOADING_S):
                await golden.until_answered(backend, POLL_S)
        except TimeoutError:
            raise NotReady from None

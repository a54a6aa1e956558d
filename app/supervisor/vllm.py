"""vLLM as a child process: its arguments, its environment, its compile cache and its readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from app.backends.base import Backend
from app.contract import compile_cache, serving
from app.contract.hardware import Profile
from app.settings.supervisor import SupervisorSettings
from app.supervisor import golden
from app.supervisor.failures import CannotUse
from app.supervisor.files import rotate_log
from app.supervisor.process import Program
from app.supervisor.screen import Screen
from app.supervisor.service import NotReady
from app.supervisor.weights import Weights

LOADING_S = 900.0
"""Time limit from start to the first answer, after which vLLM is restarted; the first start compiles for minutes."""

POLL_S = 0.5
COMPILING = "vllm.compiling"
"""A file in the run folder that exists from a start until vLLM is ready: by then, all code is compiled."""
SECRETS = ("OPENAI_", "CONVICTION_", "REDIS_")
"""Prefixes of variables that vLLM does not inherit."""


def program(
    weights: Weights, settings: SupervisorSettings, profile: Profile, port: int, inherited: Mapping[str, str]
) -> Program:
    """Return the program for one start of vLLM, after checking the weights' hashes and the compile cache."""
    weights.verify()
    python = settings.vllm_python.absolute()
    if not python.exists():
        raise CannotUse(f"{settings.vllm_python} does not exist; CONVICTION_VLLM_PYTHON names vLLM's interpreter")
    vllm = Program(
        "vLLM",
        serving.command(python, weights.folder, weights.model_id, port, profile),
        environment(settings, profile, inherited),
        rotate_log(settings.run_dir, "vllm"),
        settings.run_dir / COMPILING,
    )
    clear_cache_after_crash(vllm)
    return vllm


def environment(settings: SupervisorSettings, profile: Profile, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return vLLM's environment, without secrets; vLLM sends no request to the internet and reports no usage."""
    public = {name: value for name, value in inherited.items() if not name.startswith(SECRETS)}
    cache = settings.run_dir.absolute() / "vllm"
    return {
        **serving.environment(settings.vllm_python.absolute(), profile, cache, public),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.vllm_cache_gib),
    }


def clear_cache_after_crash(vllm: Program) -> None:
    """Delete the compile cache if vLLM ended before it was ready, unless by itself and with status 0."""
    if vllm.marker:
        compile_cache.clear_after_crash(Path(vllm.environment["VLLM_CACHE_ROOT"]), vllm.marker)


async def wait_until_ready(backend: Backend, screen: Screen, run_dir: Path) -> None:
    """Return once vLLM answers a complete prompt. Raises `NotReady` after `LOADING_S`."""
    async with screen.progress("vLLM is loading", f"its log is {run_dir / 'vllm.log'}"):
        try:
            async with asyncio.timeout(LOADING_S):
                await golden.wait_until_answering(backend, POLL_S)
        except TimeoutError:
            raise NotReady from None
    (run_dir / COMPILING).unlink(missing_ok=True)

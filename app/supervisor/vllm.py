"""vLLM: its arguments, its environment, and when it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from struct import Struct

from app.backends.base import Backend
from app.contract import serving
from app.contract.hardware import Profile
from app.settings.supervisor import SupervisorSettings
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
ELF64 = Struct("<16sHHIQQQIHHHHHH")
"""The file's header, little-endian (ELF-64 Object File Format, version 1.5, figure 2)."""
SECRETS = ("OPENAI_", "CONVICTION_", "REDIS_")
"""What variables begin with that are none of its business."""


def program(
    weights: Weights, settings: SupervisorSettings, profile: Profile, port: int, inherited: Mapping[str, str]
) -> Program:
    """Checks the weights' hashes, and what vLLM compiled earlier: this is called before every start."""
    weights.verify()
    discard_cut_off(_cache(settings))
    python = settings.vllm_python.absolute()
    if not python.exists():
        raise CannotUse(f"{settings.vllm_python} does not exist; CONVICTION_VLLM_PYTHON names vLLM's interpreter")
    return Program(
        "vLLM",
        serving.command(python, weights.folder, weights.model_id, port, profile),
        environment(settings, profile, inherited),
        fresh_log(settings.run_dir, "vllm"),
    )


def environment(settings: SupervisorSettings, profile: Profile, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what vLLM inherits, without secrets; it looks nothing up outside and reports to no service."""
    public = {name: value for name, value in inherited.items() if not name.startswith(SECRETS)}
    return {
        **serving.environment(settings.vllm_python.absolute(), profile, _cache(settings), public),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.vllm_cache_gib),
    }


def discard_cut_off(cache: Path) -> None:
    """Remove compiled kernels that a kill or a full disk cut off: the compiler writes them in place, and PyTorch, which
    takes any file that is there, would end at its first use, each time anew. They are compiled again."""
    for library in cache.rglob("*.so"):
        if not _whole(library):
            library.unlink()


def _whole(library: Path) -> bool:
    """Whether a 64-bit ELF file reaches to the end of its section headers, which stand last in it."""
    with library.open("rb") as file:
        header = file.read(ELF64.size)
    if len(header) < ELF64.size or not header.startswith(b"\x7fELF"):
        return False
    *_, sections_at, _, _, _, _, size, number, _ = ELF64.unpack(header)
    end: int = sections_at + size * number
    return sections_at > 0 and library.stat().st_size >= end


def _cache(settings: SupervisorSettings) -> Path:
    return settings.run_dir.absolute() / "vllm"


async def become_ready(backend: Backend, screen: Screen, log: Path) -> None:
    """Return once a real question is answered. Raises `NotReady` if that takes too long."""
    async with screen.waiting("vLLM is loading", f"its log is {log}"):
        try:
            async with asyncio.timeout(LOADING_S):
                await golden.until_answered(backend, POLL_S)
        except TimeoutError:
            raise NotReady from None

"""The model servers: stand-ins, or vLLM with the default model as `conviction up` starts it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from app.contract import hardware
from app.settings.gateway import Settings
from app.settings.supervisor import SupervisorSettings
from app.stand_in.server import DEFAULT_KEY
from app.supervisor import vllm, weights
from app.supervisor.process import Program
from deploy.loadtest import settings

OWN = {"Authorization": f"Bearer {DEFAULT_KEY}"}
SERVED = re.compile(r"^vllm:request_success_total\{.*\} (\S+)$", re.MULTILINE)


def programs(folder: Path, ports: Sequence[int], *, real: bool) -> list[Program]:
    """Return a server for each port. Raises `UnusableModel` or `CannotUse` if the model cannot run here."""
    names = [f"model-{number}" for number in range(1, len(ports) + 1)]
    if not real:
        return [settings.stand_in(name, folder, port, hosted=True) for name, port in zip(names, ports, strict=True)]
    own, given = SupervisorSettings(), Settings()
    profile = hardware.profile()
    chosen = weights.choose(given.model_store, own.models, profile.weights, foreign=False)
    apart = [own.model_copy(update={"run_dir": folder / name}) for name in names]
    for each in apart:
        each.run_dir.mkdir()
    return [
        replace(vllm.program(chosen, each, profile, port, settings.environment()), name=name)
        for name, each, port in zip(names, apart, ports, strict=True)
    ]


async def tokens(client: httpx.AsyncClient, origin: str) -> int:
    """Return the tokens that a stand-in has read and sent since its start."""
    tally = (await client.get(f"{origin}/stand-in/tally", headers=OWN)).json()
    return int(tally["prompt_tokens"] + tally["completion_tokens"])


async def calls(client: httpx.AsyncClient, origin: str, *, real: bool) -> int:
    """Return the completions begun (stand-in) or ended (vLLM) since its start. Raises `httpx.TransportError`."""
    if real:
        return sum(int(float(number)) for number in SERVED.findall((await client.get(f"{origin}/metrics")).text))
    tally = (await client.get(f"{origin}/stand-in/tally", headers=OWN)).json()
    return int(tally["open"] + tally["answered"] + tally["abandoned"])

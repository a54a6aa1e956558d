"""The steps of `conviction up`: plan, start the model server, start the gateway, and keep both running."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.backends.base import Backend
from app.backends.registry import build_backends
from app.contract import hardware
from app.contract.completion import BackendName
from app.contract.hardware import Profile, WeightFormat
from app.main import create_app
from app.settings.gateway import Settings, load_settings
from app.settings.loading import load
from app.settings.supervisor import SupervisorSettings
from app.supervisor import gateway, golden, stand_in, store, vllm, weights
from app.supervisor.failures import CannotUse
from app.supervisor.ports import available_port
from app.supervisor.process import Process, Program
from app.supervisor.screen import Screen
from app.supervisor.service import Service
from app.supervisor.welcome import welcome

LOOPBACK = "127.0.0.1"
FORMS: Mapping[WeightFormat, str] = {"awq": "4-bit AWQ", "dequantized": "4-bit AWQ multiplied out into float32"}
StandInFor = Literal["both", "gpt-4"]


@dataclass(frozen=True)
class Plan:
    """The programs to run. `port` is the model server's."""

    settings: Settings
    supervisor: SupervisorSettings
    port: int
    weights: weights.Weights | None
    """None: the stand-in answers."""
    profile: Profile | None
    """The model server's; None for the stand-in."""
    gpt4_port: int | None = None
    """The port of a stand-in that answers as gpt-4 beside the model."""

    @property
    def summary(self) -> str:
        if self.weights is None or self.profile is None:
            return "STAND-IN: no model is running; every answer is the rule-based analyst's and says so."
        form = FORMS[self.profile.weights]
        second = " STAND-IN as gpt-4: the rule-based analyst answers, and says so." if self.gpt4_port else ""
        how = f"{self.profile.dtype}, {'compiled' if self.profile.compiled else 'eager'}"
        return (
            f"Serving {self.weights.model_id}, {form}, {how}, as mistral.{second}\n"
            f"This machine: {self.profile.machine}; {self.profile.reason}."
        )


def make_plan(screen: Screen, *, stand_in_for: StandInFor | None, persistent: bool) -> Plan:
    """Check everything before any program is started, and set the variables that the gateway inherits.

    `persistent`: the store is kept for the next start. Unless CONVICTION_DRAIN_S is set, the gateway stops without
    draining, since no load balancer is in front of it. Raises `InvalidSettings`, `UnusableModel` and `Failure`.
    """
    supervisor, settings = load(SupervisorSettings), load_settings()
    profile = None if stand_in_for == "both" else supported_profile()
    chosen = choose_weights(profile, supervisor, settings) if profile else None
    port = available_port(LOOPBACK, supervisor.vllm_port, "CONVICTION_VLLM_PORT")
    gpt4_port = available_port(LOOPBACK, 0) if stand_in_for == "gpt-4" else None
    with_stand_in = stand_in_for is not None
    os.environ |= {
        "CONVICTION_VLLM_URLS": f"http://{LOOPBACK}:{port}/v1",
        "CONVICTION_MARKET_FALLBACK": settings.market_fallback or "dated-sample",
        "CONVICTION_PORT": str(available_port(settings.host, settings.port, "PORT")),
        **({} if "drain_s" in settings.model_fields_set else {"CONVICTION_DRAIN_S": "0"}),
        **(
            store.gateway_variables(settings, supervisor.run_dir, screen, with_stand_in=with_stand_in)
            if persistent
            else {}
        ),
        **({"CONVICTION_VLLM_PROFILE": json.dumps(asdict(profile))} if profile else {}),
        **(stand_in.gateway_variables(f"http://{LOOPBACK}:{gpt4_port or port}/v1") if with_stand_in else {}),
    }
    settings = load_settings()
    create_app(settings)  # raises InvalidSettings where the gateway would
    store.require_free(settings)
    return Plan(settings, supervisor, port, chosen, profile, gpt4_port)


def supported_profile() -> Profile:
    """Return this machine's profile; raise `CannotUse` with the cause and the remedy where it cannot serve a model."""
    try:
        return hardware.profile()
    except hardware.UnsupportedMachine as error:
        raise CannotUse(str(error)) from None


def choose_weights(profile: Profile, supervisor: SupervisorSettings, settings: Settings) -> weights.Weights:
    """Return the current version's weights in the format that the profile needs."""
    foreign = settings.allow_foreign_model
    return weights.choose(settings.model_store, supervisor.models, profile.weights, foreign=foreign)


async def up(plan: Plan, command: Sequence[str], screen: Screen) -> int:
    """Run until cancelled, or until `command` (if any) ends, and return its exit status.

    The gateway stops before the model server.
    """
    screen.print(plan.summary)
    async with AsyncExitStack() as stack:
        backends = build_backends(plan.settings)
        for backend in backends.values():
            stack.push_async_callback(backend.close)
        services = {await stack.enter_async_context(each.running()) for each in model_servers(plan, backends, screen)}
        url = gateway.address(plan.settings)
        gateway_service = Service(
            lambda: gateway.program(plan.supervisor.run_dir, os.environ),
            lambda: gateway.wait_until_ready(url, screen),
            screen.print,
        )
        services.add(await stack.enter_async_context(gateway_service.running()))
        if command:
            return await run_command(command, url, services)
        market = str((await asyncio.to_thread(gateway.readiness, url)).get("market", plan.settings.market))
        for line in welcome(plan.settings, url, market):
            screen.print(line)
        await wait_for_first(services)
        return 0


def model_servers(plan: Plan, backends: Mapping[BackendName, Backend], screen: Screen) -> Iterator[Service]:
    """Yield vLLM, the stand-in, or both, each for one backend."""
    if plan.weights is None or plan.profile is None:
        yield stand_in_server(plan, plan.port, backends["mistral"], screen)
        return
    if plan.gpt4_port is not None:
        yield stand_in_server(plan, plan.gpt4_port, backends["gpt-4"], screen)
    yield vllm_server(plan, plan.weights, plan.profile, backends["mistral"], screen)


def stand_in_server(plan: Plan, port: int, backend: Backend, screen: Screen) -> Service:
    return Service(
        lambda: stand_in.program(plan.supervisor, port, os.environ),
        lambda: stand_in.wait_until_ready(backend, screen),
        screen.print,
    )


def vllm_server(plan: Plan, chosen: weights.Weights, profile: Profile, backend: Backend, screen: Screen) -> Service:
    """Return the service of vLLM, which is ready once a new build has passed the golden prompts."""

    async def wait_until_ready() -> None:
        await vllm.wait_until_ready(backend, screen, plan.supervisor.run_dir)
        await golden.check(backend, chosen)

    return Service(
        lambda: vllm.program(chosen, plan.supervisor, profile, plan.port, os.environ), wait_until_ready, screen.print
    )


async def run_command(command: Sequence[str], url: str, services: set[asyncio.Task[None]]) -> int:
    """Run a command with CONVICTION_URL set and return its exit status; raise the error of a service that ends."""
    process = Process.start(Program(command[0], tuple(command), {**os.environ, "CONVICTION_URL": url}))
    ended = asyncio.create_task(process.ended())
    try:
        await wait_for_first({ended, *services})
        return await ended
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
        await process.stop()


async def wait_for_first(tasks: Set[asyncio.Task[Any]]) -> None:
    """Wait until one task ends, and raise its error."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()

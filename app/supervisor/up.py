"""The story: settle what is to run, start the model server, then the gateway, and watch both until told to stop."""

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
from app.supervisor.ports import settled
from app.supervisor.process import Process, Program
from app.supervisor.screen import Screen
from app.supervisor.service import Service
from app.supervisor.welcome import welcome

LOOPBACK = "127.0.0.1"
FORMS: Mapping[WeightFormat, str] = {"awq": "4-bit AWQ", "dequantized": "4-bit AWQ multiplied out into float32"}
StandsFor = Literal["both", "gpt-4"]


@dataclass(frozen=True)
class Plan:
    """What is to run. `port` is the model server's."""

    settings: Settings
    own: SupervisorSettings
    port: int
    weights: weights.Weights | None
    """None: the stand-in answers."""
    profile: Profile | None
    """The model server's; None for the stand-in."""
    gpt4_port: int | None = None
    """That of a stand-in which answers as gpt-4 beside the model; None: there is none."""

    @property
    def served(self) -> str:
        if self.weights is None or self.profile is None:
            return "STAND-IN: no model is running; every answer is the rule-based analyst's and says so."
        form = FORMS[self.profile.weights]
        beside = " STAND-IN as gpt-4: the rule-based analyst answers, and says so." if self.gpt4_port else ""
        how = f"{self.profile.dtype}, {'compiled' if self.profile.compiled else 'eager'}"
        return (
            f"Serving {self.weights.model_id}, {form}, {how}, as mistral.{beside}\n"
            f"This machine: {self.profile.machine}; {self.profile.reason}."
        )


def make_plan(screen: Screen, *, stands_for: StandsFor | None, lasting: bool) -> Plan:
    """Settle everything that can be wrong before anything is started, and set what the gateway is to inherit.

    Lasting, its store is kept from one start to the next. Unless told to, the gateway waits for no balancer.
    """
    own, given = load(SupervisorSettings), load_settings()
    profile = None if stands_for == "both" else supported_profile()
    chosen = choose_weights(profile, own, given) if profile else None
    port = settled(LOOPBACK, own.vllm_port, "CONVICTION_VLLM_PORT")
    gpt4_port = settled(LOOPBACK, 0, "") if stands_for == "gpt-4" else None
    os.environ |= {
        "CONVICTION_VLLM_URLS": f"http://{LOOPBACK}:{port}/v1",
        "CONVICTION_MARKET_FALLBACK": given.market_fallback or "sample",
        "CONVICTION_PORT": str(settled(given.host, given.port, "PORT")),
        **({} if "drain_s" in given.model_fields_set else {"CONVICTION_DRAIN_S": "0"}),
        **(store.for_gateway(given, own.run_dir, screen, with_stand_in=stands_for is not None) if lasting else {}),
        **({"CONVICTION_VLLM_PROFILE": json.dumps(asdict(profile))} if profile else {}),
        **(stand_in.for_gateway(f"http://{LOOPBACK}:{gpt4_port or port}/v1") if stands_for else {}),
    }
    settings = load_settings()
    create_app(settings)  # raises InvalidSettings for what the gateway would refuse
    store.require_free(settings)
    return Plan(settings, own, port, chosen, profile, gpt4_port)


def supported_profile() -> Profile:
    """Return this machine's profile; raise `CannotUse` with the cause and the remedy where it cannot serve a model."""
    try:
        return hardware.profile()
    except hardware.UnsupportedMachine as error:
        raise CannotUse(str(error)) from None


def choose_weights(profile: Profile, own: SupervisorSettings, settings: Settings) -> weights.Weights:
    """Return the form of the current version that the profile asks for."""
    return weights.choose(settings.model_store, own.models, profile.weights, foreign=settings.allow_foreign_model)


async def up(plan: Plan, command: Sequence[str], screen: Screen) -> int:
    """Run until cancelled, or until `command` (if any) ends; its exit status. The gateway stops before the model."""
    screen.say(plan.served)
    async with AsyncExitStack() as stack:
        backends = build_backends(plan.settings)
        for backend in backends.values():
            stack.push_async_callback(backend.close)
        watched = {await stack.enter_async_context(each.running()) for each in model_servers(plan, backends, screen)}
        url = gateway.address(plan.settings)
        front = Service(
            lambda: gateway.program(plan.own.run_dir, os.environ),
            lambda: gateway.become_ready(url, screen),
            screen.say,
        )
        watched.add(await stack.enter_async_context(front.running()))
        if command:
            return await during(command, url, watched)
        market = str((await asyncio.to_thread(gateway.readiness, url)).get("market", plan.settings.market))
        for line in welcome(plan.settings, url, market):
            screen.say(line)
        await first_of(watched)
        return 0


def model_servers(plan: Plan, backends: Mapping[BackendName, Backend], screen: Screen) -> Iterator[Service]:
    """The model, the stand-in, or each for one backend."""
    if plan.weights is None or plan.profile is None:
        yield stand_in_server(plan, plan.port, backends["mistral"], screen)
        return
    if plan.gpt4_port is not None:
        yield stand_in_server(plan, plan.gpt4_port, backends["gpt-4"], screen)
    yield vllm_server(plan, plan.weights, plan.profile, backends["mistral"], screen)


def stand_in_server(plan: Plan, port: int, backend: Backend, screen: Screen) -> Service:
    """Ready once it answers as the backend."""
    return Service(
        lambda: stand_in.program(plan.own, port, os.environ),
        lambda: stand_in.become_ready(backend, screen),
        screen.say,
    )


def vllm_server(plan: Plan, chosen: weights.Weights, profile: Profile, backend: Backend, screen: Screen) -> Service:
    """vLLM, asked the golden prompts before anyone may use a new build."""

    async def become_ready() -> None:
        await vllm.become_ready(backend, screen, plan.own.run_dir / "vllm.log")
        await golden.check(backend, chosen)

    return Service(lambda: vllm.program(chosen, plan.own, profile, plan.port, os.environ), become_ready, screen.say)


async def during(command: Sequence[str], url: str, watched: set[asyncio.Task[None]]) -> int:
    """Run a command beside the services, told where the gateway is."""
    process = Process.start(Program(command[0], tuple(command), {**os.environ, "CONVICTION_URL": url}))
    over = asyncio.create_task(process.ended())
    try:
        await first_of({over, *watched})
        return await over
    finally:
        over.cancel()
        await asyncio.gather(over, return_exceptions=True)
        await process.stop()


async def first_of(tasks: Set[asyncio.Task[Any]]) -> None:
    """Wait until one ends, and raise what ended it."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()

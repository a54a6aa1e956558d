"""The proof: run all checks in turn on one deployment, and print a line each."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from app.contract.manifest import UnusableModel
from app.supervisor.failures import Failure
from deploy.loadtest import faults, sharing
from deploy.loadtest.load import Load
from deploy.loadtest.parts import ScaleError
from deploy.loadtest.sharing import Finding
from deploy.loadtest.stack import GATEWAYS, MODELS, Stack, running

Check = Callable[[Stack], Awaitable[Finding]]


def prove(options: argparse.Namespace) -> int:
    """Return 0 where all checks passed, 1 where one failed, 2 where the deployment did not start."""
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(TemporaryDirectory(prefix="conviction-scale-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return asyncio.run(_prove(folder, options))
        except (ScaleError, UnusableModel, Failure) as error:
            print(f"deploy.loadtest: {error}", file=sys.stderr)
            return 2


async def _prove(folder: Path, options: argparse.Namespace) -> int:
    chosen = dict(_chosen(options))
    if not chosen:
        raise ScaleError(f"no check is called that; there are {', '.join(_checks(False, 0))}")
    async with running(folder, real=options.vllm) as stack:
        model = "vLLM with the default model" if stack.real else "STAND-IN, the rule-based analyst, no model"
        say(f"{GATEWAYS} gateways behind haproxy at {stack.url}, one Valkey, {MODELS} model servers ({model})")
        wrong = 0
        for name, check in chosen.items():
            try:
                found = await check(stack)
            except ScaleError as error:
                found = Finding(name, False, str(error))
            wrong += not found.held
            say(f"{'ok  ' if found.held else 'FAIL'}  {found.name:<18} {found.summary}")
    return 1 if wrong else 0


def _chosen(options: argparse.Namespace) -> Iterator[tuple[str, Check]]:
    for name, check in _checks(options.vllm, options.within).items():
        if not options.only or any(name.startswith(start) for start in options.only):
            yield name, check


def _checks(real: bool, within_s: float) -> dict[str, Check]:
    """Yield the checks. With real models fewer clients send only brief requests: a full answer takes a minute."""

    def load(stack: Stack) -> Load:
        return Load(stack, clients=2, full_every=0) if real else Load(stack)

    async def restart(stack: Stack) -> Finding:
        return await faults.rolling_restart(stack, load(stack))

    async def kill(name: str, stack: Stack) -> Finding:
        return await faults.killed(stack, load(stack), name, within_s)

    return {
        "limits": sharing.limits,
        "budgets": sharing.budgets,
        "single-flight": sharing.single_flight,
        "experiments": sharing.experiments,
        "rolling restart": restart,
        **{f"kill -9 {name}": partial(kill, name) for name in faults.KILLED},
    }


def say(line: str) -> None:
    print(line, flush=True)

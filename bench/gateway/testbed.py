"""The testbed: send load to a system, check every answer, and measure what the machine used."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from bench.gateway.figures import quantile
from bench.gateway.gateways import GATEWAYS, RIVALS
from bench.gateway.load import Generator, InvalidRound, Load, Sample
from bench.gateway.machine import Cores
from bench.gateway.programs import BenchmarkError, DidNotStart, NotInstalled, Process, compiled, machine_busy_s
from bench.gateway.store import store
from bench.gateway.systems import ROOT, Environment, System, direct
from bench.gateway.upstream import Upstream, upstream
from bench.gateway.workload import Task, chat_script, recommendation_script

LEAD_IN_S = 0.5
"""Uncounted load before each measurement."""
SETTLE_S = 0.5
"""Wait after each measurement, so that work a gateway does after its answers is counted too."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Testbed:
    """What every system is measured with. `seconds` is the length of one measurement."""

    chat: Upstream
    hosted: Upstream
    generator: Generator
    store: Process
    seconds: float
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a rival is not measured, by name."""

    def leave_out(self, name: str, error: BenchmarkError) -> None:
        """Note that a rival cannot be measured, and print why in one line. Raises the error for any other system."""
        if name not in RIVALS:
            raise error
        self.left_out[name] = str(error).partition("\n")[0]
        print(f"{name} is left out: {self.left_out[name]}", file=sys.stderr, flush=True)

    def ask(self, system: System, task: Task, load: Load) -> Sample:
        return self.generator.run(system.port, system.key, task, load)

    def closed(self, system: System, task: Task, connections: int, upstream: Upstream | None = None) -> Figures:
        """Run a closed loop. Raises `InvalidRound` unless every answer is right and came from the upstream."""
        source = upstream or self.chat
        self.ask(system, task, Load(LEAD_IN_S, connections)).require_all_valid()
        before = source.counts()
        with self.measured(system) as figures:
            sample = self.ask(system, task, Load(self.seconds, connections))
            sample.require_all_valid()
        counts = source.counts(since=before)
        if counts.invalid or counts.aborted or counts.answered != sample.valid:
            raise InvalidRound(f"{system.name}: {sample.valid} answers, but the upstream counted {counts}")
        figures["cpu_ms"] = 1000 * figures["cpu_s"] / sample.valid
        figures["store_cpu_ms"] = 1000 * figures["store_cpu_s"] / sample.valid
        figures["stand_cpu_ms"] = 1000 * figures["stand_cpu_s"] / sample.valid
        return figures | spread(sample)

    @contextmanager
    def measured(self, system: System) -> Iterator[Figures]:
        """Measure the CPU time that the gateway, the store, the testbed and other programs use inside the context."""
        figures: Figures = {}
        began, before = time.monotonic(), self._used(system)
        yield figures
        time.sleep(SETTLE_S)
        taken, after = time.monotonic() - began, self._used(system)
        busy, own, gateway, stored = (now - then for now, then in zip(after, before, strict=True))
        figures |= {"cpu_s": gateway, "store_cpu_s": stored, "stand_cpu_s": own}
        figures["others_cores"] = (busy - own - gateway - stored) / taken
        figures["memory_mb"] = system.process.memory_mb() if system.process else 0.0

    def _used(self, system: System) -> tuple[float, float, float, float]:
        """CPU seconds so far: whole machine, testbed (upstreams, load, this process), gateway, store."""
        gateway, stored = system.process.cpu_s() if system.process else 0.0, self.store.cpu_s()
        loads = getrusage(RUSAGE_CHILDREN)
        own = time.process_time() + loads.ru_utime + loads.ru_stime
        upstreams = self.chat.process.cpu_s() + self.hosted.process.cpu_s()
        return machine_busy_s(), own + upstreams, gateway, stored


def spread(sample: Sample) -> Figures:
    """Return the throughput, the count of each verdict and the quantiles of times in ms."""
    latency, first = sample.latency_ms(), sample.first_ms()
    return {
        "seconds": sample.seconds,
        "throughput": sample.throughput,
        **{f"p{percent}_ms": quantile(latency, percent) for percent in (50, 95, 99)},
        **{f"first_p{percent}_ms": quantile(first, percent) for percent in (50, 99)},
        **sample.tally(),
    }


def start_testbed(
    gateways: Sequence[str],
    cores: Cores,
    environments: Path,
    seconds: float,
    stack: ExitStack,
    python: Sequence[str] = (sys.executable,),
    tree: Path = ROOT,
) -> tuple[Testbed, list[System]]:
    """Start everything; the first system is the upstream itself, a rival may be missing. The stack stops all of it."""
    folder = ROOT / ".run/bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chat = stack.enter_context(upstream(chat_script(folder), cores.rest))
    hosted = stack.enter_context(upstream(recommendation_script(folder), cores.rest))
    shared = stack.enter_context(store(cores.rest, folder))
    environment = Environment(chat, hosted, shared.port, cores.gateway, folder, environments, python, tree)
    generator = Generator(compiled("load", folder), cores.rest, folder)
    testbed, systems = Testbed(chat, hosted, generator, shared.process, seconds), [direct(environment)]
    for name in gateways:
        try:
            systems.append(stack.enter_context(GATEWAYS[name].start(environment)))
        except (NotInstalled, DidNotStart) as error:
            testbed.leave_out(name, error)
    return testbed, systems

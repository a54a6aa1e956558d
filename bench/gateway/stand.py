"""The test stand: loads go to a contender, every answer is checked, and the machine is watched meanwhile."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from bench.gateway.contenders import GATEWAYS, ROOT, Environment, System, direct
from bench.gateway.figures import quantile
from bench.gateway.load import Generator, InvalidRound, Load, Sample
from bench.gateway.machine import Cores
from bench.gateway.programs import Process, compiled, machine_busy_s
from bench.gateway.store import store
from bench.gateway.upstream import KEY, Upstream, upstream
from bench.gateway.workload import Task, chat_script, recommendation_script

LEAD_IN_S = 0.5
"""Load before each measurement that is not counted."""
SETTLE_S = 0.5
"""After each, for what a gateway does behind its answers: that is its work as well."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Stand:
    """`seconds` are those of each measurement; `others` the processes that take part besides the gateway."""

    chat: Upstream
    hosted: Upstream
    generator: Generator
    store: Process
    seconds: float

    def ask(self, contender: System, task: Task, load: Load) -> Sample:
        return self.generator.run(contender.port, contender.key, task, load)

    def closed(self, contender: System, task: Task, connections: int, upstream: Upstream | None = None) -> Figures:
        """A closed loop in which every answer is right and came from the upstream."""
        source = upstream or self.chat
        self.ask(contender, task, Load(LEAD_IN_S, connections)).require_all_valid()
        before = source.counts()
        with self.watched(contender) as figures:
            sample = self.ask(contender, task, Load(self.seconds, connections))
            sample.require_all_valid()
        counts = source.counts().since(before)
        if counts.invalid or counts.aborted or counts.answered != sample.valid:
            raise InvalidRound(f"{contender.name}: {sample.valid} answers, but the upstream counted {counts}")
        figures["cpu_ms"] = 1000 * figures["cpu_s"] / sample.valid
        figures["store_cpu_ms"] = 1000 * figures["store_cpu_s"] / sample.valid
        figures["stand_cpu_ms"] = 1000 * figures["stand_cpu_s"] / sample.valid
        return figures | spread(sample)

    @contextmanager
    def watched(self, contender: System) -> Iterator[Figures]:
        """Fills in what was used of the machine: by the gateway, by the store, and by what has no part in it."""
        figures: Figures = {}
        began, before = time.monotonic(), self._used(contender)
        yield figures
        time.sleep(SETTLE_S)
        taken, after = time.monotonic() - began, self._used(contender)
        busy, stand, gateway, stored = (now - then for now, then in zip(after, before, strict=True))
        figures |= {"cpu_s": gateway, "store_cpu_s": stored, "stand_cpu_s": stand}
        figures["others_cores"] = (busy - stand - gateway - stored) / taken
        figures["memory_mb"] = contender.process.memory_mb() if contender.process else 0.0

    def _used(self, contender: System) -> tuple[float, float, float, float]:
        """Processor seconds of the whole machine, of the stand (upstreams, load, this), of gateway and store."""
        gateway, stored = contender.process.cpu_s() if contender.process else 0.0, self.store.cpu_s()
        loads = getrusage(RUSAGE_CHILDREN)
        own = time.process_time() + loads.ru_utime + loads.ru_stime
        upstreams = self.chat.process.cpu_s() + self.hosted.process.cpu_s()
        return machine_busy_s(), own + upstreams, gateway, stored


def spread(sample: Sample) -> Figures:
    """A sample as it is kept: how fast, how many of what, and the quantiles of times in ms."""
    latency, first = sample.latency_ms(), sample.first_ms()
    return {
        "seconds": sample.seconds,
        "throughput": sample.throughput,
        **{f"p{percent}_ms": quantile(latency, percent) for percent in (50, 95, 99)},
        **{f"first_p{percent}_ms": quantile(first, percent) for percent in (50, 99)},
        **sample.tally(),
    }


def stand_for(
    gateways: Sequence[str],
    cores: Cores,
    litellm: Path,
    seconds: float,
    stack: ExitStack,
    python: Sequence[str] = (sys.executable,),
) -> tuple[Stand, list[System]]:
    """Start everything; the upstream itself comes first of the contenders. All of it ends with the stack."""
    folder = ROOT / ".run/bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = compiled("upstream", folder)
    chat = stack.enter_context(upstream(program, chat_script(folder), KEY, cores.rest, folder))
    hosted = stack.enter_context(upstream(program, recommendation_script(folder), "-", cores.rest, folder))
    shared = stack.enter_context(store(cores.rest, folder))
    around = Environment(chat, hosted, shared.port, cores.gateway, folder, litellm, python)
    contenders = [direct(around), *(stack.enter_context(GATEWAYS[name](around)) for name in gateways)]
    generator = Generator(compiled("load", folder), cores.rest, folder)
    return Stand(chat, hosted, generator, shared.process, seconds), contenders

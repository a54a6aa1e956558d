"""The schedule: rounds in which every system is measured in a random order, then the soak."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.gateway.figures import Round
from bench.gateway.load import InvalidRound
from bench.gateway.measures import MEASURES, applies, soak, warm_up
from bench.gateway.systems import System
from bench.gateway.testbed import Testbed

SOAK_STEPS = 20
SOAKED = "conviction"
"""The only system soaked: LiteLLM would take an hour for as many requests."""
SEED = 20
SHOWN = (
    "throughput",
    "cpu_ms",
    "import_cpu_ms",
    "p50_ms",
    "p99_ms",
    "first_p50_ms",
    "goodput_share",
    "refusal_p99_ms",
    "memory_mb",
)


@dataclass(frozen=True)
class Schedule:
    rounds: int = 7
    seconds: float = 5.0
    """Length of one measurement."""
    measures: tuple[str, ...] = (*MEASURES, "soak")
    soak_requests: int = 200_000


QUICK = Schedule(rounds=2, seconds=1.0, soak_requests=10_000)
WITH_RIVALS = Schedule(rounds=3, seconds=2.0, measures=("throughput", "latency", "first_token"))
"""Some six minutes for all gateways."""


def run_schedule(plan: Schedule, testbed: Testbed, systems: Sequence[System]) -> Iterator[Round]:
    """Yield every measurement as a round, and print it to standard error."""
    systems = [system for system in systems if _warm(plan, testbed, system)]
    draw = random.Random(SEED)  # noqa: S311 - an order, not a secret
    for number in range(plan.rounds):
        for measure in (name for name in MEASURES if name in plan.measures):
            for system in draw.sample(systems, len(systems)):
                if applies(measure, system):
                    yield _logged(measure, number, system, MEASURES[measure](testbed, system))
    if "soak" in plan.measures:
        yield from _soak(plan, testbed, systems)


def _warm(plan: Schedule, testbed: Testbed, system: System) -> bool:
    """Warm a system up; return whether its answers were right. Raises `InvalidRound` for any but a rival."""
    _say(f"warming up {system.name}")
    try:
        warm_up(testbed, system, plan.measures)
    except InvalidRound as error:
        testbed.leave_out(system.name, error)
        return False
    return True


def _soak(plan: Schedule, testbed: Testbed, systems: Sequence[System]) -> Iterator[Round]:
    for system in (each for each in systems if each.name == SOAKED):
        for step in range(SOAK_STEPS):
            yield _logged("soak", step, system, soak(testbed, system, plan.soak_requests // SOAK_STEPS))


def _logged(measure: str, number: int, system: System, figures: dict[str, Any]) -> Round:
    shown = "  ".join(f"{name} {figures[name]:.4g}" for name in SHOWN if name in figures)
    _say(f"{measure} {number} {system.name}: {shown}")
    return {"measure": measure, "round": number, "gateway": system.name, **figures}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)

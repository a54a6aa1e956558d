"""The order of play: rounds in which the contenders take turns, then the soak."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.gateway.contenders import System
from bench.gateway.figures import Round
from bench.gateway.measures import MEASURES, applies, soak, warm_up
from bench.gateway.stand import Stand

SOAK_STEPS = 20
SOAKED = "conviction"
"""LiteLLM would take an hour for as many requests."""
SEED = 20
SHOWN = ("throughput", "cpu_ms", "p50_ms", "p99_ms", "first_p50_ms", "goodput_share", "refusal_p99_ms", "memory_mb")


@dataclass(frozen=True)
class Schedule:
    rounds: int = 7
    seconds: float = 5.0
    """Of each measurement."""
    measures: tuple[str, ...] = (*MEASURES, "soak")
    soak_requests: int = 200_000


QUICK = Schedule(rounds=2, seconds=1.0, soak_requests=10_000)


def played(plan: Schedule, stand: Stand, contenders: Sequence[System]) -> Iterator[Round]:
    """Every measurement as a round, told on standard error as it is taken."""
    for contender in contenders:
        _say(f"warming up {contender.name}")
        warm_up(stand, contender, plan.measures)
    draw = random.Random(SEED)  # noqa: S311 - an order, not a secret
    for number in range(plan.rounds):
        for measure in (name for name in MEASURES if name in plan.measures):
            for contender in draw.sample(contenders, len(contenders)):
                if applies(measure, contender):
                    yield _told(measure, number, contender, MEASURES[measure](stand, contender))
    if "soak" in plan.measures:
        yield from _soaked(plan, stand, contenders)


def _soaked(plan: Schedule, stand: Stand, contenders: Sequence[System]) -> Iterator[Round]:
    for contender in (each for each in contenders if each.name == SOAKED):
        for step in range(SOAK_STEPS):
            yield _told("soak", step, contender, soak(stand, contender, plan.soak_requests // SOAK_STEPS))


def _told(measure: str, number: int, contender: System, figures: dict[str, Any]) -> Round:
    shown = "  ".join(f"{name} {figures[name]:.4g}" for name in SHOWN if name in figures)
    _say(f"{measure} {number} {contender.name}: {shown}")
    return {"measure": measure, "round": number, "gateway": contender.name, **figures}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)

"""The measures. A wrong answer is an error, never a figure."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping
from resource import RUSAGE_CHILDREN, getrusage

from bench.gateway.figures import quantile
from bench.gateway.load import InvalidRound, Load, Verdict
from bench.gateway.systems import System
from bench.gateway.testbed import Figures, Testbed, spread

CONCURRENCY = 32
WARM_UP_S = 2.0
"""The least length of the uncounted load before the first round."""
OVERLOAD = 2.0
"""The offered load, as a multiple of the measured peak."""
OVERLOAD_CONNECTIONS = 4096
PACE_MS = (10.0, 2.0)
"""Milliseconds to the first event and between events, for `first_token`."""


def throughput(testbed: Testbed, system: System) -> Figures:
    """Measure requests a second and CPU time a request in a saturating closed loop."""
    return testbed.closed(system, system.whole, CONCURRENCY)


def latency(testbed: Testbed, system: System) -> Figures:
    """Measure latency with one request at a time."""
    return testbed.closed(system, system.whole, 1)


def first_token(testbed: Testbed, system: System) -> Figures:
    """Measure the time to the first token with one streamed answer at a time, at a model's pace."""
    testbed.chat.pace(*PACE_MS)
    try:
        return testbed.closed(system, system.stream, 1)
    finally:
        testbed.chat.pace(0, 0)


def recommendations(testbed: Testbed, system: System) -> Figures:
    """Measure a saturating closed loop of /v1/recommendations."""
    assert system.recommendation is not None
    return testbed.closed(system, system.recommendation, CONCURRENCY, testbed.hosted)


def overload(testbed: Testbed, system: System) -> Figures:
    """Send twice the measured peak in an open loop: measure refusals, their latency and the remaining goodput."""
    peak: float = throughput(testbed, system)["throughput"]
    if not peak:
        raise InvalidRound(f"{system.name} answered nothing in {testbed.seconds} s")
    load = Load(testbed.seconds, OVERLOAD_CONNECTIONS, rate=OVERLOAD * peak)
    with testbed.measured(system) as figures:
        sample = testbed.ask(system, system.whole, load)
    if len(sample.of(Verdict.WRONG)):
        raise InvalidRound(f"{system.name} under overload: {sample.tally()}")
    refusals = sample.latency_ms(sample.refused)
    figures |= {"peak": peak, "offered": OVERLOAD * peak, "goodput_share": sample.throughput / peak}
    figures |= {f"refusal_p{percent}_ms": quantile(refusals, percent) for percent in (50, 99)}
    figures["refusals_with_retry_after"] = int((sample.refused["retry_after_s"] > 0).sum())
    return figures | spread(sample)


def import_time(testbed: Testbed, system: System) -> Figures:
    """Measure the CPU time of a process that imports the application and ends."""
    with testbed.measured(system) as figures:
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(system.imported, check=True)
        after = getrusage(RUSAGE_CHILDREN)
    figures["import_cpu_ms"] = 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return figures


MEASURES: Mapping[str, Callable[[Testbed, System], Figures]] = {
    "throughput": throughput,
    "latency": latency,
    "first_token": first_token,
    "recommendations": recommendations,
    "overload": overload,
    "import": import_time,
}


def applies(measure: str, system: System) -> bool:
    """Return whether a system has the measure: overload needs a gateway, two others need Conviction."""
    if measure in ("recommendations", "import"):
        return system.recommendation is not None
    return system.process is not None or measure != "overload"


def warm_up(testbed: Testbed, system: System, measures: Collection[str]) -> None:
    """Send uncounted load of each kind that the measures need, to fill pools and caches."""
    special = {"first_token": system.stream, "recommendations": system.recommendation}
    for task in {special.get(measure, system.whole) for measure in measures} - {None}:
        assert task is not None
        testbed.ask(system, task, Load(max(WARM_UP_S, testbed.seconds), CONCURRENCY)).require_all_valid()


def soak(testbed: Testbed, system: System, requests: int) -> Figures:
    """Send a number of requests in a closed loop and measure the memory afterwards."""
    with testbed.measured(system) as figures:
        sample = testbed.ask(system, system.whole, Load(3600.0, CONCURRENCY, requests=requests))
        sample.require_all_valid()
    return figures | {"requests": sample.valid}

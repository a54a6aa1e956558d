"""What is measured of a contender. An answer that is not right is an error, never a figure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from bench.gateway.contenders import System
from bench.gateway.figures import quantile
from bench.gateway.load import InvalidRound, Load, Verdict
from bench.gateway.stand import Figures, Stand, spread

CONCURRENCY = 32
OVERLOAD = 2.0
"""Times the capacity."""
OVERLOAD_CONNECTIONS = 4096
PACE_MS = (10.0, 2.0)
"""To the first event and from event to event, where the time to the first token is measured."""


def throughput(stand: Stand, contender: System) -> Figures:
    """Saturated by a closed loop: requests a second, and processor time each."""
    return stand.closed(contender, contender.whole, CONCURRENCY)


def latency(stand: Stand, contender: System) -> Figures:
    """One request at a time."""
    return stand.closed(contender, contender.whole, 1)


def first_token(stand: Stand, contender: System) -> Figures:
    """One streamed answer at a time, at a model's pace."""
    stand.chat.pace(*PACE_MS)
    try:
        return stand.closed(contender, contender.stream, 1)
    finally:
        stand.chat.pace(0, 0)


def recommendations(stand: Stand, contender: System) -> Figures:
    """Saturated by /v1/recommendations."""
    assert contender.recommendation is not None
    return stand.closed(contender, contender.recommendation, CONCURRENCY, stand.hosted)


def overload(stand: Stand, contender: System) -> Figures:
    """An open loop at twice what a closed one has just brought: what is refused, how fast, what is still answered."""
    peak: float = throughput(stand, contender)["throughput"]
    if not peak:
        raise InvalidRound(f"{contender.name} answered nothing in {stand.seconds} s")
    load = Load(stand.seconds, OVERLOAD_CONNECTIONS, rate=OVERLOAD * peak)
    with stand.watched(contender) as figures:
        sample = stand.ask(contender, contender.whole, load)
    if len(sample.of(Verdict.WRONG)):
        raise InvalidRound(f"{contender.name} under overload: {sample.tally()}")
    refusals = sample.latency_ms(sample.refused)
    figures |= {"peak": peak, "offered": OVERLOAD * peak, "goodput_share": sample.throughput / peak}
    figures |= {f"refusal_p{percent}_ms": quantile(refusals, percent) for percent in (50, 99)}
    figures["refusals_with_retry_after"] = int((sample.refused["retry_after_s"] > 0).sum())
    return figures | spread(sample)


MEASURES: Mapping[str, Callable[[Stand, System], Figures]] = {
    "throughput": throughput,
    "latency": latency,
    "first_token": first_token,
    "recommendations": recommendations,
    "overload": overload,
}


def applies(measure: str, contender: System) -> bool:
    """Overload is the gateways'; recommendations are given by one of them."""
    if measure == "recommendations":
        return contender.recommendation is not None
    return contender.process is not None or measure != "overload"


def warm_up(stand: Stand, contender: System, measures: Collection[str]) -> None:
    """Load of each kind that the measures need, not counted: pools fill, caches settle."""
    special = {"first_token": contender.stream, "recommendations": contender.recommendation}
    for task in {special.get(measure, contender.whole) for measure in measures} - {None}:
        assert task is not None
        stand.ask(contender, task, Load(max(2.0, stand.seconds), CONCURRENCY)).require_all_valid()


def soak(stand: Stand, contender: System, requests: int) -> Figures:
    """A number of requests, as fast as they go, and the memory afterwards."""
    with stand.watched(contender) as figures:
        sample = stand.ask(contender, contender.whole, Load(3600.0, CONCURRENCY, requests=requests))
        sample.require_all_valid()
    return figures | {"requests": sample.valid}

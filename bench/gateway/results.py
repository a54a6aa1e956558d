"""Compute the results document and the printed table from rounds. README.md describes the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from bench.gateway.figures import Estimate, Round, difference, growth_mb, mean, ratio, series, significant
from bench.gateway.gateways import GATEWAYS

OURS = "conviction"
PEERS = tuple(name for name in GATEWAYS if name != OURS)
RATIOS = {
    "cpu_ratio": ("throughput", "cpu_ms"),
    "recommendations.cpu_ratio": ("recommendations", "cpu_ms"),
    "import_cpu_ratio": ("import", "import_cpu_ms"),
}
"""Figures of a peer over Conviction's own: name, measure and figure."""

TARGETS: Mapping[str, tuple[str, float]] = {
    "litellm.throughput_ratio": (">=", 10),
    "cpu_ms_per_request": ("<=", 1.0),
    "recommendations.cpu_ms_per_request": ("<=", 1.5),
    "added_latency_ms.p50": ("<=", 1.5),
    "added_latency_ms.p99": ("<=", 4),
    "added_ttft_ms": ("<=", 2),
    "overload.refusal_p99_ms": ("<=", 50),
    "overload.goodput_share": (">=", 0.9),
    "memory_mb": ("<=", 150),
    "soak.growth_mb_per_100k": ("<=", 1),
}
QUIET_CORES = 0.05
"""Cores that other programs may use during a round before its figures are doubted."""
HEADROOM = 1.5
"""How many times the fastest gateway's throughput the upstream must reach without a gateway."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Rounds:
    """All rounds of a run."""

    rounds: Sequence[Round]

    def has(self, measure: str, gateway: str) -> bool:
        return any((each["measure"], each["gateway"]) == (measure, gateway) for each in self.rounds)

    def mean(self, measure: str, gateway: str, name: str) -> Estimate:
        return mean(series(self.rounds, measure, gateway, name))

    def ratio(self, measure: str, ours: str, theirs: str, name: str) -> Estimate:
        return ratio(*(series(self.rounds, measure, gateway, name) for gateway in (ours, theirs)))

    def memory(self, gateway: str) -> Estimate:
        """Return the largest value after any round, and the range."""
        seen = [each["memory_mb"] for each in self.rounds if each["gateway"] == gateway]
        return Estimate(max(seen), min(seen), max(seen))

    def growth(self, gateway: str) -> Estimate:
        """Return the memory growth in the soak, in MB per 100,000 requests; one run has no interval."""
        requests, memory = (series(self.rounds, "soak", gateway, name) for name in ("requests", "memory_mb"))
        slope = growth_mb(requests.cumsum(), memory)
        return Estimate(slope, slope, slope)

    def added(self, measure: str, gateway: str, name: str) -> Estimate:
        """Return the difference from the upstream without a gateway."""
        return difference(*(series(self.rounds, measure, each, name) for each in (gateway, "direct")))


def estimates(of: Rounds) -> dict[str, Estimate]:
    """Return every figure by dotted name: Conviction's at the top level, a peer's under its name."""
    found = dict(_own(of, OURS))
    for peer in PEERS:
        found |= {f"{peer}.{name}": estimate for name, estimate in _own(of, peer)}
        if of.has("throughput", OURS) and of.has("throughput", peer):
            found[f"{peer}.throughput_ratio"] = of.ratio("throughput", OURS, peer, "throughput")
        for name, (measure, figure) in RATIOS.items():
            if of.has(measure, OURS) and of.has(measure, peer):
                found[f"{peer}.{name}"] = of.ratio(measure, peer, OURS, figure)
    if of.has("throughput", "direct"):
        found["upstream.throughput_per_core"] = of.mean("throughput", "direct", "throughput")
    return found


def _own(of: Rounds, gateway: str) -> Iterator[tuple[str, Estimate]]:
    """Yield one gateway's figures for the measures of the run."""
    if of.has("throughput", gateway):
        yield "throughput_per_core", of.mean("throughput", gateway, "throughput")
        yield "cpu_ms_per_request", of.mean("throughput", gateway, "cpu_ms")
        yield "store_cpu_ms_per_request", of.mean("throughput", gateway, "store_cpu_ms")
        yield "memory_mb", of.memory(gateway)
    if of.has("recommendations", gateway):
        yield "recommendations.throughput_per_core", of.mean("recommendations", gateway, "throughput")
        yield "recommendations.cpu_ms_per_request", of.mean("recommendations", gateway, "cpu_ms")
    if of.has("latency", gateway):
        yield "added_latency_ms.p50", of.added("latency", gateway, "p50_ms")
        yield "added_latency_ms.p99", of.added("latency", gateway, "p99_ms")
        yield "cpu_ms_alone", of.mean("latency", gateway, "cpu_ms")
    if of.has("first_token", gateway):
        yield "added_ttft_ms", of.added("first_token", gateway, "first_p50_ms")
    if of.has("overload", gateway):
        yield "overload.refusal_p99_ms", of.mean("overload", gateway, "refusal_p99_ms")
        yield "overload.goodput_share", of.mean("overload", gateway, "goodput_share")
    if of.has("import", gateway):
        yield "import_cpu_ms", of.mean("import", gateway, "import_cpu_ms")
    if of.has("soak", gateway):
        yield "soak.requests", mean([series(of.rounds, "soak", gateway, "requests").sum()])
        yield "soak.growth_mb_per_100k", of.growth(gateway)


def nested(figures: Mapping[str, Any]) -> Document:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    document: Document = {}
    for name, value in figures.items():
        *path, last = name.split(".")
        place = document
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return document


def meets(name: str, value: float) -> bool | None:
    """Return whether a figure meets its target; None without a target. NaN never does."""
    if name not in TARGETS:
        return None
    sign, bound = TARGETS[name]
    return bool(value >= bound if sign == ">=" else value <= bound)


def doubts(of: Rounds) -> list[str]:
    """Return reasons to distrust the figures."""
    others = max((each["others_cores"] for each in of.rounds), default=0.0)
    found = []
    if others > QUIET_CORES:
        found.append(f"other programs used up to {others:.2f} cores during a round: the figures are not to be trusted")
    rates = {
        name: of.mean("throughput", name, "throughput").value for name in (OURS, *PEERS) if of.has("throughput", name)
    }
    if rates and of.has("throughput", "direct"):
        headroom = of.mean("throughput", "direct", "throughput").value / max(rates.values())
        if headroom < HEADROOM:
            found.append(f"the upstream reaches only {headroom:.2f} times the fastest gateway's throughput")
    return found


def document(of: Rounds, about: Document) -> Document:
    """Return the document: the figures, their intervals and doubts, and the rounds."""
    figures = estimates(of)
    return {
        **nested({name: finite(estimate.value) for name, estimate in figures.items()}),
        "intervals": {name: list(map(finite, (estimate.low, estimate.high))) for name, estimate in figures.items()},
        "met": {name: meets(name, figures[name].value) for name in TARGETS if name in figures},
        "doubts": doubts(of),
        **about,
        "rounds": [_plain(each) for each in of.rounds],
    }


def finite(value: float) -> float | None:
    """Round to four digits; None for NaN, such as the latency of no refusals."""
    return significant(value) if isfinite(value) else None


def _plain(each: Round) -> Document:
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in each.items()}


def table(of: Rounds) -> Iterator[str]:
    """Yield the table of figures with their intervals."""
    figures = estimates(of)
    shown = [peer for peer in PEERS if any(each["gateway"] == peer for each in of.rounds)]
    yield f"{'':<37}{OURS:>30}{''.join(f'{peer:>30}' for peer in shown)}   target"
    names = dict.fromkeys(name.removeprefix(f"{peer}.") for name in figures for peer in ("", *PEERS))
    for name in (name for name in names if not name.startswith((*PEERS, "upstream"))):
        own = "" if "ratio" in name else _cell(figures.get(name))
        peers = (_cell(figures.get(f"{peer}.{name}")) for peer in shown)
        yield f"{name:<37}{own:>30}{''.join(f'{peer:>30}' for peer in peers)}   {_asked(name, figures)}".rstrip()
    yield f"upstream without a gateway: {_cell(figures.get('upstream.throughput_per_core'))} requests a second"
    yield from (f"DOUBTFUL: {doubt}" for doubt in doubts(of))


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    value, low, high = (f"{significant(each, 3):g}" for each in (estimate.value, estimate.low, estimate.high))
    return value if low == high else f"{value} ({low} to {high})"


def _asked(name: str, figures: Mapping[str, Estimate]) -> str:
    full = name if name in TARGETS else f"{PEERS[0]}.{name}"
    if full not in TARGETS or full not in figures:
        return ""
    sign, bound = TARGETS[full]
    return f"{sign} {bound:g}: {'met' if meets(full, figures[full].value) else 'MISSED'}"

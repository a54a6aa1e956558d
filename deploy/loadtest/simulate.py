"""A simulation of 1 to 100 model servers: waiting times, autoscaling by waiting requests, and cost of tokens."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import get_args

import numpy as np

from deploy.loadtest.queueing import Simulation
from deploy.loadtest.scaling import Autoscaler, rise_and_fall
from deploy.loadtest.service import Detail, Figures, ModelServer, figures, usd_per_1k_tokens

REPLICAS = (1, 2, 5, 10, 20, 50, 100)
LOADS = (0.2, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Of what all replicas can do."""
SEED = 20_261_126
WARM = 1 / 3
"""Of the requests, which come while the empty servers fill: not counted."""
FILLS = 12
"""Times that as many requests come as all servers take together, at the least."""
SCALED = "l4"
SCALED_DETAIL: Detail = "full"
LOWEST, HIGHEST, SPAN_S = 1.0, 12.0, 4 * 3600.0
"""Of the load that rises and falls: in servers that it would keep busy without a pause."""
COLUMNS = ("server", "detail", "replicas", "load", "requests_per_second", "wait_p50_s", "wait_p95_s", "took_p50_s",
           "took_p95_s", "usd_per_1k_tokens")  # fmt: skip
SCALED_COLUMNS = ("scaling", "start_s", "wait_p50_s", "wait_p95_s", "wait_max_s", "most", "mean_replicas",
                  "usd_per_1k_tokens")  # fmt: skip
Row = Sequence[str | int | float]


def simulate(options: argparse.Namespace) -> int:
    """Print the tables; with a folder, write all as CSV."""
    known = figures()
    even = list(steady_loads(known, options.requests))
    scaled = list(scaled_loads(known))
    for name, server in known.servers.items():
        for detail in get_args(Detail):
            most = server.per_second(known.request(server, detail))
            print(f"\n{server.name}, {detail}: each at most {most:.3g} a second\n")
            print("\n".join(markdown(COLUMNS[2:], (row[2:] for row in even if row[:2] == (name, detail)))))
    print(
        f"\n{known.servers[SCALED].name}, {SCALED_DETAIL}: {LOWEST:g} to {HIGHEST:g} servers' worth of load and back\n"
    )
    print("\n".join(markdown(SCALED_COLUMNS, scaled)))
    if options.out is not None:
        write(options.out / "steady.csv", COLUMNS, even)
        write(options.out / "scaled.csv", SCALED_COLUMNS, scaled)
    return 0


def steady_loads(known: Figures, requests: int) -> Iterator[Row]:
    """Simulate Poisson arrivals at a constant rate."""
    for name, server in known.servers.items():
        for detail in get_args(Detail):
            for replicas in REPLICAS:
                for load in LOADS:
                    yield (name, detail, replicas, load, *steady(known, server, detail, replicas, load, requests))


def steady(
    known: Figures, server: ModelServer, detail: Detail, replicas: int, load: float, requests: int
) -> tuple[float, ...]:
    request, draw = known.request(server, detail), np.random.default_rng(SEED)
    number = max(requests, FILLS * replicas * server.concurrency)
    rate = load * replicas * server.per_second(request)
    arrivals = np.cumsum(draw.exponential(1 / rate, number))
    found = Simulation(arrivals, known.work(detail, number, draw), server.pace(request), replicas).run()
    waited, took = found.waited[int(WARM * number) :], found.took[int(WARM * number) :]
    # The cost of the replicas over the expected time of that many arrivals.
    usd = usd_per_1k_tokens(server, request, number, replicas * number / rate)
    return (rate, *np.percentile(waited, [50, 95]).tolist(), *np.percentile(took, [50, 95]).tolist(), usd)


def scaled_loads(known: Figures) -> Iterator[Row]:
    """Simulate a fixed number of replicas, 90% busy at the highest load, and autoscaling from one replica."""
    server, rule = known.servers[SCALED], known.scaling
    request = known.request(server, SCALED_DETAIL)
    pace, one = server.pace(request), server.per_second(request)
    arrivals = rise_and_fall(LOWEST * one, HIGHEST * one, SPAN_S, np.random.default_rng(SEED))
    work = known.work(SCALED_DETAIL, len(arrivals), np.random.default_rng(SEED + 1))

    def row(name: str, start_s: float, scaler: Autoscaler | None, replicas: int) -> Row:
        found = Simulation(arrivals, work, pace, replicas).run(scaler, rule.poll_s, start_s)
        span_s = float((arrivals + found.took).max())
        usd = usd_per_1k_tokens(server, request, len(arrivals), found.paid_s)
        percentiles = np.percentile(found.waited, [50, 95, 100]).tolist()
        return (name, start_s, *percentiles, found.most, found.paid_s / span_s, usd)

    yield row("none", 0, None, ceil(HIGHEST / 0.9))
    for start_s in known.assumptions.start_s:
        yield row("waiting", start_s, Autoscaler(rule, server.concurrency, by_running=False), 1)
        yield row("waiting and running", start_s, Autoscaler(rule, server.concurrency, by_running=True), 1)


def markdown(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Format a number with three digits, the precision of simulated percentiles."""
    yield f"| {' | '.join(name.replace('_', ' ') for name in columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(value) for value in row)} |"


def _cell(value: str | int | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)

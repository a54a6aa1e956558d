"""The duration of a report over 100,000 stored pairs, and of a cheap request during the report.

python bench/report.py [--pairs N] [--reports N] [--tickers N]

The pairs are generated and stored in a Valkey server like the gateway's; the gateway is a separate process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the repository need not be installed
from numpy.typing import NDArray  # noqa: E402
from redis import Redis  # noqa: E402

from app.comparison.failure_codes import FAILURES  # noqa: E402
from app.comparison.pair_store import CHUNK, EXTRAS, PAIRS  # noqa: E402
from app.comparison.records import NO_ACTION, RECORD, split  # noqa: E402
from app.contract.completion import BACKEND_NAMES  # noqa: E402
from app.stores.embedded import embedded_server  # noqa: E402
from bench.gateway.programs import free_port  # noqa: E402
from bench.processes import running  # noqa: E402

DAY_MS = 86_400_000
PAUSE_S = 0.002
"""Seconds between cheap requests."""
CHEAP = "/health/live"


def made_up(pairs: int, tickers: int) -> NDArray[np.void]:
    """Generate records of thirty days, with an agreement of about 0.85 that varies by ticker, and 2% failures."""
    random = np.random.default_rng(0)
    records = np.zeros(pairs, RECORD)
    now = int(1000 * time.time())
    records["time_ms"] = np.sort(random.integers(now - 30 * DAY_MS, now, pairs))
    owner = random.integers(0, tickers, pairs)
    records["ticker"] = np.array([f"T{number}" for number in range(tickers)], "S10")[owner]
    inclined = random.beta(17, 3, tickers)
    action = random.integers(0, 3, pairs)
    same = random.random(pairs) < inclined[owner]
    for name, actions in zip(BACKEND_NAMES, (action, np.where(same, action, (action + 1) % 3)), strict=True):
        failed = random.random(pairs) < 0.02
        side = records[name]
        side["failure"] = np.where(failed, FAILURES.index("deadline_exceeded"), 0)
        side["action"] = np.where(failed, NO_ACTION, actions)
        side["conviction"] = np.where(failed, 0, random.integers(1, 11, pairs))
        for field, scale in (("total_ms", 1500), ("ttft_ms", 200), ("ms_per_token", 25)):
            side[field] = np.where(failed, np.nan, random.lognormal(np.log(scale), 0.4, pairs))
        for field, low, high in (("input_tokens", 380, 500), ("output_tokens", 80, 200), ("nano_usd", 10**5, 10**6)):
            side[field] = np.where(failed, 0, random.integers(low, high, pairs))
        side["figures"], side["unsupported"] = random.integers(5, 15, pairs), random.random(pairs) < 0.1
    return records


def fill(address: str, records: NDArray[np.void]) -> None:
    """Store the records in the gateways' format."""
    with Redis.from_url(address) as redis:
        for place in range(0, len(records), CHUNK):
            main, extras = split(records[place : place + CHUNK])
            redis.mset({f"{PAIRS}:{place // CHUNK}": main, f"{EXTRAS}:{place // CHUNK}": extras})
        last = int(records["time_ms"][-1])
        redis.hset(PAIRS, mapping={"count": len(records), "first": 0, "last_ms": last})


def get(connection: HTTPConnection, path: str) -> tuple[float, bytes]:
    """Return the duration in seconds and the answer."""
    began = perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {content!r}")
    return perf_counter() - began, content


@contextmanager
def cheaply(port: int) -> Iterator[list[float]]:
    """Send cheap requests one after another inside the context; yield their milliseconds."""
    taken: list[float] = []
    over = threading.Event()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        while not over.is_set():
            taken.append(1000 * get(connection, CHEAP)[0])
            time.sleep(PAUSE_S)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def spread(taken: Sequence[float]) -> str:
    cuts = quantiles(taken, n=100)
    return f"p50 {cuts[49]:.2f}, p99 {cuts[98]:.2f}, longest {max(taken):.2f} ms of {len(taken)}"


async def main(pairs: int, tickers: int, reports: int) -> None:
    async with embedded_server(None) as address:
        await asyncio.to_thread(fill, address, made_up(pairs, tickers))
        await asyncio.to_thread(measure, address, reports)


def measure(address: str, reports: int) -> None:
    port = free_port()
    with running(port, "serve", REDIS_URL=address, CONVICTION_PORT=str(port), CONVICTION_MARKET="sample"):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        _, content = get(connection, "/v1/comparisons/report")
        first = json.loads(content)
        print(f"{first['pairs']:,} pairs of {first['tickers']} tickers, agreement {first['agreement']}")
        with cheaply(port) as alone:
            time.sleep(3)
        with cheaply(port) as beside:
            taken = [get(connection, "/v1/comparisons/report")[0] for _ in range(reports)]
        print(f"report: median {median(taken):.3f} s, longest {max(taken):.3f} s of {reports}")
        print(f"{CHEAP} alone: {spread(alone)}")
        print(f"{CHEAP} during a report: {spread(beside)}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=100_000)
    options.add_argument("--tickers", type=int, default=500)
    options.add_argument("--reports", type=int, default=20)
    given = options.parse_args()
    asyncio.run(main(given.pairs, given.tickers, given.reports))

"""The duration of a scrape of /metrics from a gateway that has samples in every series.

python bench/scrape.py [--scrapes N]

Gateway and stand-in are separate processes. Budgets are set, so that a scrape queries the store. Because a shared
machine delays a scrape, the output includes the duration of a request that does nothing and the CPU time that a scrape
takes in the gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from app.contract.fingerprint import EXAMPLE
from bench.processes import gateway, stand_in

LIMIT_MS = 20.0
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
JSON = {"Content-Type": "application/json"}
QUESTIONS = 20
BUDGETS = {"CONVICTION_MISTRAL_USD_PER_DAY": "10", "CONVICTION_GPT4_USD_PER_DAY": "10"}
METRICS, NO_USAGE = "/metrics", "/health/live"


def mixed(connection: HTTPConnection) -> None:
    """Send requests to both backends: both details, streams, comparisons and invalid bodies."""
    for number in range(QUESTIONS):
        metrics = EXAMPLE.document() | {"price": round(571.29 + number / 100, 2)}
        body = {"ticker": "SNPS", "metrics": metrics, "detail": ("brief", "full")[number % 2]}
        for backend in ("mistral", "gpt-4"):
            post(connection, "/v1/recommendations", body | {"stream": number % 4 == 1}, backend)
            post(connection, "/v1/recommendations", {"ticker": "SNPS", "metrics": {}}, backend)
        post(connection, "/v1/comparisons", body)


def post(connection: HTTPConnection, path: str, body: object, backend: str | None = None) -> None:
    headers = JSON if backend is None else JSON | {"X-Backend": backend}
    connection.request("POST", path, json.dumps(body).encode(), headers)
    connection.getresponse().read()


def get(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    page = response.read()
    if response.status != 200:
        raise SystemExit(f"the gateway answered {response.status}")
    return page


def timed(connection: HTTPConnection, path: str, times: int) -> Iterator[float]:
    """Yield the milliseconds that the client waits for each request."""
    for _ in range(times):
        began = time.perf_counter()
        get(connection, path)
        yield 1000 * (time.perf_counter() - began)


def processor_s(page: bytes) -> float:
    """Return the gateway's CPU seconds from its own metric."""
    [sample] = [line for line in page.splitlines() if line.startswith(b"process_cpu_seconds_total ")]
    return float(sample.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scrapes", type=int, default=500)
    options = parser.parse_args()
    with stand_in() as upstream, gateway(upstream, **BUDGETS) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        mixed(connection)
        idle = list(timed(connection, NO_USAGE, options.scrapes))
        before = get(connection, METRICS)
        taken = list(timed(connection, METRICS, options.scrapes))
        after = get(connection, METRICS)
        connection.close()
    own = 1000 * (processor_s(after) - processor_s(before)) / (options.scrapes + 1)
    samples = sum(not line.startswith(b"#") for line in after.splitlines())
    print(f"{options.scrapes} scrapes of {samples} samples, {len(after) / 1000:.1f} kB; at most {LIMIT_MS:g} ms each")
    for path, seen in ((METRICS, taken), (NO_USAGE, idle)):
        median, tail, longest = np.quantile(seen, [0.5, 0.99, 1])
        print(f"{path:<13} median {median:.2f} ms, p99 {tail:.2f} ms, longest {longest:.2f} ms, as a client sees it")
    print(f"processor: {own:.2f} ms each, to {TICK_MS / options.scrapes:.3f} ms; all threads of the gateway")


if __name__ == "__main__":
    main()

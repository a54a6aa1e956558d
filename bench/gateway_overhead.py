"""The gateway's own time a request, by `timing.gateway_ms`, in front of a stand-in on the same machine.

python bench/gateway_overhead.py [--requests N] [--concurrency N] [--detail brief|full]

Both run as separate processes with an embedded store. After a warm-up, threads send requests, each on one
connection. The client's latency, printed next to it, includes the stand-in's time.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.contract.fingerprint import EXAMPLE  # noqa: E402 - the repository need not be installed

MADE = {"Content-Type": "application/json", "Cache-Control": "no-store"}
WARM_UP = 50
START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(port: int, *command: str, **environment: str) -> Iterator[None]:
    """Start `conviction` as a process that listens on a port."""
    inherited = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *command],
        env=inherited,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_S
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"conviction {command[0]} did not start")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, body: bytes, times: int) -> list[tuple[float, float]]:
    """Return the gateway's and the client's milliseconds of `times` requests."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    taken = []
    for _ in range(times):
        began = perf_counter()
        connection.request("POST", "/v1/recommendations", body, MADE)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"the gateway answered {response.status}: {answer}")
        taken.append((answer["timing"]["gateway_ms"], 1000 * (perf_counter() - began)))
    connection.close()
    return taken


def line(name: str, milliseconds: Sequence[float]) -> str:
    cuts = quantiles(milliseconds, n=100)
    return f"{name:<12} p50 {cuts[49]:7.2f} ms   p95 {cuts[94]:7.2f} ms   p99 {cuts[98]:7.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--detail", choices=("brief", "full"), default="brief")
    options = parser.parse_args()
    body = json.dumps({"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": options.detail}).encode()
    upstream, port = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(running(upstream, "stand-in", "--port", str(upstream)))
        settings = {
            "CONVICTION_VLLM_URLS": f"http://127.0.0.1:{upstream}/v1",
            "CONVICTION_HOSTING_USD_PER_HOUR": "0.10",
            "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "100000",
            "CONVICTION_MARKET": "sample",
            "CONVICTION_PORT": str(port),
        }
        stack.enter_context(running(port, "serve", **settings))
        ask(port, body, WARM_UP)
        share = max(1, options.requests // options.concurrency)
        pool = stack.enter_context(ThreadPoolExecutor(options.concurrency))
        taken = [
            each for part in pool.map(lambda _: ask(port, body, share), range(options.concurrency)) for each in part
        ]
    print(f"{len(taken)} {options.detail} requests, {options.concurrency} at a time")
    print(line("gateway_ms", [own for own, _ in taken]))
    print(line("client sees", [seen for _, seen in taken]))


if __name__ == "__main__":
    main()

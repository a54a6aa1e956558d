"""The latency that the decision log adds to an answer, and the rate at which it stores answers.

python bench/decision_log.py [--rounds N] [--gap-ms N] [--url POSTGRESQL]

Each gateway is a separate process with an embedded store, and a SQLite file if it keeps a log; one stand-in answers
without delay. Every round sends one request to each gateway, in a new random order. In best-effort mode an entry is
written 50 ms after its answer: with a gap shorter than that, one in some requests meets a write. The processor time of
queueing an entry, the only work in the request path, is measured separately, and so is the rate of the writer, whose
queue is filled before it starts. `--url` measures that rate on a PostgreSQL database, too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from typing import get_args
from uuid import uuid4

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from app.api.examples import RECORDED
from app.auth.principal import local_principal
from app.decision_log.database import FILE
from app.decision_log.log import open_decision_log
from app.pricing.limits import Limits
from app.recommendation import RECOMMENDATION
from app.settings.decision_log import DecisionLogMode, DecisionLogSettings
from app.telemetry.metrics import Collectors
from bench.callers import Caller, added, ask_in_turn
from bench.processes import gateway, stand_in

LIMIT_MS = 0.1
ENTRIES = 4000
"""Fewer than the queue's capacity."""


async def storing(settings: DecisionLogSettings) -> tuple[float, float]:
    """Return the processor milliseconds of queueing an entry, and the entries stored in a second."""
    recorded = RECORDED["POST /v1/recommendations"]["200"]["application/json"]["full"]["value"]
    answer, principal = RECOMMENDATION.validate_python(recorded), local_principal(Limits())
    answers = [replace(answer, id=f"rec_{uuid4().hex}") for _ in range(ENTRIES)]
    async with open_decision_log(settings, Collectors()) as log:
        await log.find(answers[0].id, None)
        queueing, began = thread_time(), perf_counter()
        for each in answers:
            await log.record(each, principal)
        queued = thread_time() - queueing
        while await log.find(answers[-1].id, None) is None:
            pass
        return 1000 * queued / ENTRIES, ENTRIES / (perf_counter() - began)


def report_storing(name: str, **place: object) -> None:
    # The answers of the example are of 2024.
    settings = DecisionLogSettings.model_validate({"decision_log_days": 36_500, **place})
    queued_ms, rate = asyncio.run(storing(settings))
    print(f"{name}: {queued_ms:.4f} ms of processor time to queue an entry; {rate:,.0f} entries stored in a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--gap-ms", type=float, default=20)
    parser.add_argument("--url")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="conviction-bench-")))
        report_storing("SQLite", store_dir=folder / "log")
        print(f"an answer with an analysis takes {(folder / 'log' / FILE).stat().st_size / ENTRIES:,.0f} bytes")
        if options.url:
            report_storing("PostgreSQL", decision_log_url=options.url)
        callers = open_gateways(stack, folder)
        ask_in_turn(list(callers.values()), options.rounds, options.gap_ms)
    print(f"{options.rounds} rounds, {options.gap_ms:g} ms apart; limit: {LIMIT_MS} ms added in best-effort mode")
    off = callers["off"]
    print(f"off          client {np.median(off.seen):.3f} ms, gateway_ms {np.median(off.own):.3f}, medians")
    for mode, caller in callers.items():
        if mode != "off":
            print(f"{mode:12} client {added(off.seen, caller.seen)}")


def open_gateways(stack: ExitStack, folder: Path) -> dict[DecisionLogMode, Caller]:
    """Start a gateway in each mode."""
    upstream = stack.enter_context(stand_in())
    callers: dict[DecisionLogMode, Caller] = {}
    for mode in get_args(DecisionLogMode):
        settings = {
            "CONVICTION_CACHE_S": "0",
            "CONVICTION_DECISION_LOG": mode,
            "CONVICTION_STORE_DIR": str(folder / mode),
        }
        callers[mode] = Caller(stack.enter_context(gateway(upstream, **settings)))
        wait_until_ready(callers[mode].connection)
    return callers


def wait_until_ready(connection: HTTPConnection) -> None:
    """Return once the gateway is ready, which needs the database if entries are required."""
    ready = False
    while not ready:
        time.sleep(0.1)
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        response.read()
        ready = response.status == 200


if __name__ == "__main__":
    main()

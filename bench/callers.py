"""Connections to several gateways that are asked in turn, and the latency that one adds to another's."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from time import perf_counter

import numpy as np

from app.contract.fingerprint import EXAMPLE

RESAMPLES = 2000
WARM_UP = 50
"""Rounds."""


class Caller:
    """A kept-alive connection to one gateway, and the milliseconds of its requests."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self.seen: list[float] = []
        self.own: list[float] = []

    def ask(self, number: int) -> None:
        """Send one unique request."""
        metrics = EXAMPLE.document() | {"price": round(571.29 + number / 100, 2)}
        body = json.dumps({"ticker": "SNPS", "metrics": metrics, "detail": "brief"}).encode()
        began = perf_counter()
        self.connection.request("POST", "/v1/recommendations", body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        taken = 1000 * (perf_counter() - began)
        if response.status != 200:
            raise SystemExit(f"the gateway answered {response.status}: {answer}")
        self.seen.append(taken)
        self.own.append(answer["timing"]["gateway_ms"])


def ask_in_turn(callers: Sequence[Caller], rounds: int, gap_ms: float) -> None:
    """Ask all gateways once a round, in random order; the first `WARM_UP` rounds are not measured."""
    for number in range(-WARM_UP, rounds):
        if number == 0:
            for caller in callers:
                caller.seen.clear()
                caller.own.clear()
        for caller in random.sample(callers, len(callers)):
            caller.ask(number + WARM_UP)
            time.sleep(gap_ms / 1000)


def added(before: Sequence[float], after: Sequence[float]) -> str:
    """Return the median added time, with a 95% bootstrap interval over rounds."""
    more = np.array(after) - np.array(before)
    draws = np.random.default_rng(0).integers(len(more), size=(RESAMPLES, len(more)))
    low, high = np.quantile(np.median(more[draws], axis=1), [0.025, 0.975])
    return f"{np.median(more):+.3f} ms ({low:+.3f} to {high:+.3f})"

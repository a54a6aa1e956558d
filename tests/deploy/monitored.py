"""A real gateway under mixed load, a real Prometheus, and a stand-in for vLLM's metrics."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.stand_in import create_stand_in
from deploy.demo import prometheus
from deploy.demo.prometheus import Prometheus
from tests.conftest import STAND_IN_KEY, StandIn, served
from tests.doubles import EXAMPLE_BODY
from tests.faults.running import Replica

RECORDED = Path(__file__).with_name("vllm_metrics.txt")
"""A metrics page from vLLM 0.32's code for 40 generated requests: the series that dashboards read."""
CLIENT_KEY, METRICS_KEY = "a-client-of-tests-0123456789", "prometheus-of-tests-0123456789"
LISTED_KEY = "tests"
"""The name of a key that the metrics show by name."""
BUDGETS = {"CONVICTION_MISTRAL_USD_PER_DAY": "50", "CONVICTION_GPT4_USD_PER_DAY": "50"}
PAUSE_S = 0.5


class VllmStandIn:
    """A fake vLLM: its recorded metrics page, with counters that grow at each scrape."""

    def __init__(self) -> None:
        self._recorded = RECORDED.read_text()
        self._read = 0
        gauges = re.findall(r"^# TYPE (\S+) gauge$", self._recorded, re.MULTILINE)
        self._gauges = tuple(f"{name}{{" for name in gauges)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/metrics", self._page)])

    async def _page(self, _: Request) -> PlainTextResponse:
        self._read += 1
        return PlainTextResponse("".join(self._line(line) for line in self._recorded.splitlines(keepends=True)))

    def _line(self, line: str) -> str:
        if line.startswith(("#", *self._gauges)):
            return line
        series, _, value = line.rpartition(" ")
        return f"{series} {float(value) * self._read}\n"


class Load:
    """Send requests of every kind in a loop, in a thread."""

    def __init__(self, url: str, stand_in: StandIn) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {CLIENT_KEY}"}, timeout=120)
        self._stand_in = stand_in
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._slow_key = ""
        self.rounds = 0
        self.statuses: set[int] = set()

    def __enter__(self) -> Load:
        issued = self._client.post("/v1/keys", json={"name": "slow", "requests_per_minute": 1})
        self._slow_key = issued.raise_for_status().json()["key"]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(120)
        self._client.close()

    def wait(self, rounds: int, seconds: float = 300) -> None:
        ends = time.monotonic() + seconds
        while self.rounds < rounds:
            assert self._thread.is_alive()
            assert time.monotonic() < ends, f"{self.rounds} rounds"
            time.sleep(0.1)

    def _run(self) -> None:
        while not self._over.is_set():
            self._round(self.rounds)
            self.rounds += 1
            self._over.wait(PAUSE_S)

    def _round(self, number: int) -> None:
        fresh = {**EXAMPLE_BODY, "ticker": f"T{number}"}
        for backend in ("mistral", "gpt-4"):
            for detail in ("brief", "full"):
                self._ask(fresh | {"detail": detail}, backend)
            self._ask(fresh | {"detail": "full", "stream": True, "ticker": f"S{number}"}, backend)
            self._ask(EXAMPLE_BODY, backend)
            self._ask({"ticker": "SNPS", "metrics": {}}, backend)
            self._stand_in.fail("length", times=2)
            self._ask(fresh | {"ticker": f"G{number}"}, backend)
            self._stand_in.fail("length", times=0)
        self._post("/v1/comparisons", fresh | {"detail": "brief" if number % 2 else "full"})
        self._stand_in.fail("length", times=4)
        self._post("/v1/comparisons", fresh)
        self._stand_in.fail("length", times=0)
        for _ in range(2):
            self._post("/v1/recommendations", EXAMPLE_BODY, Authorization=f"Bearer {self._slow_key}")

    def _ask(self, body: dict[str, Any], backend: str) -> None:
        self._post("/v1/recommendations", body, **{"X-Backend": backend})

    def _post(self, path: str, body: dict[str, Any], **headers: str) -> None:
        self.statuses.add(self._client.post(path, json=body, headers=headers).status_code)


@dataclass(frozen=True)
class Watched:
    """A gateway, its load, and its Prometheus."""

    gateway: Replica
    load: Load
    prometheus: Prometheus

    def page(self) -> str:
        headers = {"Authorization": f"Bearer {METRICS_KEY}"}
        return httpx.get(f"{self.gateway.url}/metrics", headers=headers, timeout=60).raise_for_status().text


@contextmanager
def watched(folder: Path, store: str) -> Iterator[Watched]:
    """Start all parts, with the rules and scrape jobs of deploy/compose/prometheus at shorter intervals."""
    program = prometheus.found()
    assert program is not None
    stand_in_app = create_stand_in(key=STAND_IN_KEY, seconds_per_token=0.001)
    with served(stand_in_app) as origin, served(VllmStandIn().app()) as vllm:
        keys = folder / "keys"
        keys.write_text(f"{LISTED_KEY}:{CLIENT_KEY}\nprometheus:{METRICS_KEY}\n")
        settings = {"CONVICTION_API_KEYS_FILE": str(keys), "CONVICTION_METRICS_KEY_NAMES": LISTED_KEY, **BUDGETS}
        gateway = Replica(folder, origin, store, **settings).start()
        try:
            gateway.wait()
            targets = {"conviction": f"127.0.0.1:{gateway.port}", "vllm": vllm.removeprefix("http://")}
            with (
                prometheus.running(program, folder, targets, METRICS_KEY) as watching,
                Load(gateway.url, StandIn(origin, STAND_IN_KEY)) as load,
            ):
                yield Watched(gateway, load, watching)
        finally:
            gateway.kill()

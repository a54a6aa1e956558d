"""python -m deploy.demo: run by `conviction up --stand-in -- …`, which sets the gateway's address."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time
from urllib.parse import urlsplit

import httpx

from deploy.demo import pictures, prometheus
from deploy.demo.dashboards import queries
from deploy.demo.figures import Page, agreement, cache, figures, table
from deploy.demo.prometheus import Prometheus
from deploy.demo.traffic import Traffic

BOARDS = {"overview": "Overview", "cost": "Cost", "ab": "A/B", "vllm": "vLLM"}
FILLED_IN = {"$__rate_interval": "1m", "$__range": "15m"}
TIMEOUT_S = 15.0
"""Seconds to wait for recording rules, which lag one second behind their input."""
STARTING_S = 30.0


def main() -> int:
    """Return 0 where both backends have figures and every answer is as expected."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the traffic lasts (default: 60)")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write a picture of each dashboard into this folder"
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # stop Prometheus and remove its data
    url = os.environ.get("CONVICTION_URL", "http://127.0.0.1:8080")
    with ExitStack() as stack:
        watching = _watching(stack, url)
        if options.pictures and watching is None:
            parser.error("--pictures needs Prometheus")
        began = time()
        good = asyncio.run(drive(url, options.seconds, watching))
        if options.pictures and watching is not None:
            for path in pictures.take(_running(), watching, began, time(), f"{stand_in()}.", options.pictures):
                say(f"picture     {path}")
        if sys.stdout.isatty():
            say("Ctrl-C stops everything.")
            signal.pause()
    return 0 if good else 1


def _watching(stack: ExitStack, url: str) -> Prometheus | None:
    """Start Prometheus, if it is installed."""
    program = prometheus.found()
    if program is None:
        say("Prometheus is not installed: figures are from /metrics (requirements/prometheus .envs/tools installs it).")
        return None
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="conviction-demo-")))
    watching = stack.enter_context(prometheus.running(program, folder, _targets(url, os.environ)))
    watching.lacking(['up{job="conviction"} == 1'], STARTING_S)  # target discovery takes some seconds
    return watching


def _targets(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the scrape targets: the gateway, and vLLM where it runs."""
    model_server = {"vllm": urlsplit(environment["CONVICTION_VLLM_URLS"]).netloc} if _vllm(environment) else {}
    return {"conviction": urlsplit(url).netloc, **model_server}


def _vllm(environment: Mapping[str, str]) -> bool:
    """Return whether a model server other than the stand-in runs; the stand-in always answers for gpt-4."""
    own = environment.get("CONVICTION_VLLM_URLS", "")
    return bool(own) and own != environment.get("OPENAI_BASE_URL")


async def drive(url: str, seconds: float, watching: Prometheus | None) -> bool:
    """Send the traffic and print the figures."""
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        say(f"{seconds:g} s of mixed traffic; the console is at {url}")
        traffic, before, began = Traffic(client), await page(client), monotonic()
        await traffic.drive(seconds)
        seconds, after = monotonic() - began, await page(client)
        report = (await client.get("/v1/comparisons/report")).raise_for_status().json()
    found = figures(before, after, seconds)
    say("", ", ".join(f"{name} {number}" for name, number in traffic.asked.items()), "")
    say(*table(found), "", cache(before, after), agreement(report))
    if report["stand_in"]:
        say(f"{stand_in()}: those are its figures, not a model's.")
    if watching is not None:
        boards(watching)
    say(*(f"WRONG {answer} ({number} times)" for answer, number in traffic.wrong.items()))
    say("", f"console     {url}", *([] if watching is None else [f"Prometheus  {watching.url}"]))
    return not traffic.wrong and all(each.real for each in found.values())


async def page(client: httpx.AsyncClient) -> Page:
    return Page((await client.get("/metrics")).raise_for_status().text)


def boards(watching: Prometheus) -> None:
    """Print how many queries of each dashboard have data."""
    asked = {name: queries(name, FILLED_IN) for name in _running()}
    lacking = set(watching.lacking((query for each in asked.values() for query in each), TIMEOUT_S))
    shares = (
        f"{BOARDS[name]} {sum(query not in lacking for query in each)} of {len(each)}" for name, each in asked.items()
    )
    say(f"dashboards, queries with data: {', '.join(shares)}{'' if 'vllm' in asked else '; vLLM is not running'}")
    say(*(f"  no data: {query}" for query in lacking))


def stand_in() -> str:
    return f"A rule-based STAND-IN answered as {'gpt-4' if _vllm(os.environ) else 'both backends'}"


def _running() -> list[str]:
    """Return the names of the dashboards whose servers run."""
    return [name for name in BOARDS if name != "vllm" or _vllm(os.environ)]


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

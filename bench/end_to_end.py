"""Recommendations of the hosted model by vLLM alone and through the gateway, with 1, 8 and 32 clients.

  conviction up -- python -m bench.end_to_end [--rounds N]

Both take turns in a random order. Each request has other metrics, so that only the fixed part of the prompt comes from
vLLM's prefix cache. CONVICTION_URL and CONVICTION_VLLM_URLS, set by `conviction up`, say where they are. Figures join
those in results.json, as `end_to_end`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import aiohttp

from app.contract import hardware
from app.contract.fingerprint import EXAMPLE
from app.contract.machine import detect
from app.contract.prompt import Detail
from bench import stored
from bench.gateway.hosted import served_model, with_addresses
from bench.varied import ticker, varied
from bench.vllm.client import Answer, Client, Load

REQUESTS: dict[Detail, dict[int, int]] = {"brief": {1: 8, 8: 48, 32: 128}, "full": {1: 2, 8: 16, 32: 32}}
"""Requests of a round by the number of clients."""
LOADS = tuple(Load(detail, *sizes) for detail, each in REQUESTS.items() for sizes in each.items())
ANSWER_S = 600.0
COUNTER = r"^vllm:prefix_cache_{name}_total(?:{{.*}})? (\S+)$"


class ThroughGateway(Client):
    """A client of the gateway at `url`; times to the first token and per token are the gateway's."""

    async def ask(self, detail: Detail) -> Answer:
        number = next(self.numbers)
        body = {"ticker": ticker(number), "metrics": varied(EXAMPLE.document(), number), "detail": detail}
        began = perf_counter()
        headers = {"Cache-Control": "no-store"}
        async with self.session.post(f"{self.url}/v1/recommendations", json=body, headers=headers) as response:
            response.raise_for_status()
            answer = await response.json()
        if answer["source"] != "model" or answer["stand_in"]:
            raise ValueError(f"the model did not make this answer: {answer}")
        return Answer(perf_counter() - began, answer["timing"]["ttft_ms"] / 1000, answer["usage"]["completion_tokens"])


async def measured(clients: Mapping[str, Client], rounds: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the figures of each load by name and system, one for each round."""
    draw = random.Random(16)  # noqa: S311 - an order, not a secret
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for load in LOADS:
        place = found.setdefault(f"{load.detail}, {load.clients} clients", {name: [] for name in clients})
        for _ in range(rounds):
            for name in draw.sample(list(clients), len(clients)):
                place[name].append(await clients[name].under(load))
    return found


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over rounds."""
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


def hit_rate(before: str, after: str) -> float | None:
    """Return the share of prompt tokens read from the prefix cache between two texts of vLLM's /metrics."""
    hits, queries = (_counted(after, name) - _counted(before, name) for name in ("hits", "queries"))
    return round(hits / queries, 3) if queries else None


def _counted(text: str, name: str) -> float:
    return sum(float(value) for value in re.findall(COUNTER.format(name=name), text, re.MULTILINE))


def table(loads: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """Yield a Markdown table with a row for each load and system."""
    yield "| answers, clients | | answers a second | tokens a second | first token, s | ms a token |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for load, systems in loads.items():
        for name, figures in systems.items():
            cells = ("answers_per_second", "tokens_per_second", "first_text_s", "ms_per_token")
            yield f"| {load} | {name} | " + " | ".join(f"{figures[cell]:g}" for cell in cells) + " |"


async def run(gateway: str, vllm: str, rounds: int) -> dict[str, Any]:
    """Return the medians by load and system, and the prefix cache's hit rate over the whole run."""
    timeout = aiohttp.ClientTimeout(ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        server = vllm.removesuffix("/v1")
        clients = {
            "vLLM alone": Client(session, server, served_model(f"{server}/v1")),
            "through the gateway": ThroughGateway(session, gateway, "mistral"),
        }
        for client in clients.values():  # fills the prefix cache and the gateway's pools
            for detail in ("brief", "full"):
                await client.ask(detail)
        before = await _metrics(session, server)
        found = await measured(clients, rounds)
        return {
            "loads": {load: {name: medians(each) for name, each in by.items()} for load, by in found.items()},
            "prefix_cache_hit_rate": hit_rate(before, await _metrics(session, server)),
            "rounds": found,
        }


async def _metrics(session: aiohttp.ClientSession, server: str) -> str:
    async with session.get(f"{server}/metrics") as response:
        return await response.text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    given = with_addresses(parser)
    machine = detect()
    origin = stored.origin(machine, hardware.profile(), os.getloadavg()[0])
    found = asyncio.run(run(given.gateway, given.vllm, given.rounds))
    print("\n".join(table(found["loads"])))
    print(f"prefix cache: {found['prefix_cache_hit_rate']} of the prompts' tokens")
    stored.store(("end_to_end", stored.kind(machine)), origin | found)


if __name__ == "__main__":
    main()

"""Output tokens a second of the real vLLM, through the gateway and directly.

  conviction up -- python -m bench.gateway.hosted

Both take turns at each concurrency. CONVICTION_URL and CONVICTION_VLLM_URLS, which `conviction up` sets, say where
they are. The figures join those in results.json, as `vllm`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from bench.gateway.figures import Estimate, Round, ratio, series, significant
from bench.gateway.load import Generator, Load, Sample
from bench.gateway.programs import BenchmarkError, compiled
from bench.gateway.systems import ROOT
from bench.gateway.workload import hosted_chat

DIRECT, GATEWAY = "vllm", "conviction"
ENOUGH = 0.98
LONGEST_S = 3600.0
SEED = 20


@dataclass(frozen=True)
class Plan:
    concurrencies: tuple[int, ...] = (1, 8, 32)
    rounds: int = 5
    requests_each: int = 3
    """Requests of each client in a round."""


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    model: str


def tokens_per_second(sample: Sample) -> float:
    """Seconds from the first request to the end of the last answer."""
    sample.require_all_valid()
    taken_ns = sample.records["end_ns"].max() - sample.records["sent_ns"].min()
    return float(sample.records["tokens"].sum() / taken_ns * 1e9)


def measured(plan: Plan, servers: Sequence[Server], generator: Generator, folder: Path) -> Iterator[Round]:
    """Measure each concurrency and server once, in a random order."""
    draw = random.Random(SEED)  # noqa: S311 - an order, not a secret
    for number in range(plan.rounds):
        for concurrency in plan.concurrencies:
            for server in draw.sample(servers, len(servers)):
                load = Load(LONGEST_S, concurrency, requests=concurrency * plan.requests_each)
                sample = generator.run(server.port, "none", hosted_chat(folder, server.model), load)
                found = {"tokens_per_second": tokens_per_second(sample), **sample.tally()}
                print(f"{number} at {concurrency}: {server.name} {found['tokens_per_second']:.1f} tokens/s", flush=True)
                yield {"measure": f"tokens at {concurrency}", "round": number, "gateway": server.name, **found}


def estimates(plan: Plan, rounds: Sequence[Round]) -> dict[int, Estimate]:
    """Return the gateway's share of vLLM's throughput, by concurrency."""
    return {
        concurrency: ratio(
            *(series(rounds, f"tokens at {concurrency}", name, "tokens_per_second") for name in (GATEWAY, DIRECT))
        )
        for concurrency in plan.concurrencies
    }


def document(plan: Plan, rounds: Sequence[Round]) -> dict[str, Any]:
    shares = estimates(plan, rounds)
    return {
        "tokens_ratio": {str(at): significant(share.value) for at, share in shares.items()},
        "intervals": {str(at): share.document() for at, share in shares.items()},
        "met": {str(at): share.value >= ENOUGH for at, share in shares.items()},
        "plan": asdict(plan),
        "rounds": list(rounds),
    }


def served_model(url: str) -> str:
    with urlopen(f"{url}/models", timeout=10) as answer:  # noqa: S310 - on loopback
        model: str = json.load(answer)["data"][0]["id"]
        return model


def with_addresses(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add the addresses of the gateway and of vLLM to a command's options, and parse them; both are required."""
    parser.add_argument("--gateway", default=os.environ.get("CONVICTION_URL"))
    parser.add_argument("--vllm", default=os.environ.get("CONVICTION_VLLM_URLS"))
    given = parser.parse_args()
    if not given.gateway or not given.vllm:
        raise SystemExit("where are the gateway and vLLM? run it by `conviction up --`, or give --gateway and --vllm")
    return given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results.json")
    given = with_addresses(parser)
    plan = Plan(rounds=given.rounds)
    direct = Server(DIRECT, urlsplit(given.vllm).port or 80, served_model(given.vllm))
    servers = [direct, Server(GATEWAY, urlsplit(given.gateway).port or 80, "mistral")]
    with TemporaryDirectory() as name:
        folder = Path(name)
        generator = Generator(compiled("load", folder), sorted(os.sched_getaffinity(0)), folder)
        try:
            rounds = list(measured(plan, servers, generator, folder))
        except BenchmarkError as error:
            raise SystemExit(f"no figures: {error}") from None
    for at, share in estimates(plan, rounds).items():
        verdict = "met" if share.value >= ENOUGH else "MISSED"
        print(
            f"at {at:>2}: {share.value:.3f} ({share.low:.3f} to {share.high:.3f}) of vLLM's tokens a second: {verdict}"
        )
    written = json.loads(given.out.read_text()) if given.out.exists() else {}
    given.out.write_text(json.dumps(written | {"vllm": document(plan, rounds)}, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

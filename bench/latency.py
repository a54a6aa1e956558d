"""Latency of the hosted backend through a running gateway, one request after another.

  conviction up -- python -m bench.latency                                        the default model
  conviction up --stand-in both -- python -m bench.latency --brief 400 --full 0   the gateway's own time

Each request has other metrics, so that only the fixed part of the prompt comes from vLLM's prefix cache.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.fresh.questions import Questions

FIGURES = ("total_ms", "ttft_ms", "ms_per_token", "gateway_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", type=int, default=20, help="number of brief answers")
    parser.add_argument("--full", type=int, default=5)
    given = parser.parse_args()
    questions = Questions(os.environ["CONVICTION_URL"])
    for detail, number in (("brief", given.brief), ("full", given.full)):
        if number:
            for _ in range(1 + number // 10):  # fills the prefix cache and the gateway's pools
                questions.ask(detail)
            print("\n".join(report(detail, [questions.ask(detail) for _ in range(number)])), flush=True)


def report(detail: str, answers: list[dict[str, Any]]) -> Iterator[str]:
    tokens = np.median([answer["usage"]["completion_tokens"] for answer in answers])
    yield f"{detail}: {len(answers)} requests to {answers[0]['model']}, {tokens:g} tokens each (median)"
    times = {name: [answer["timing"][name] for answer in answers] for name in FIGURES}
    for name, values in (times | {"client sees": [1000 * answer["seconds"] for answer in answers]}).items():
        if seen := [value for value in values if value is not None]:
            cuts = np.percentile(seen, [50, 95, 99, 100])
            yield f"  {name:<13}" + "".join(
                f" {cut} {value:8.2f}" for cut, value in zip(("p50", "p95", "p99", "longest"), cuts, strict=True)
            )


if __name__ == "__main__":
    main()

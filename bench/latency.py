"""Latency of the hosted backend through a running gateway, one request after another: `make bench`.

Every request has different metrics, so that only the prompt's fixed part comes from vLLM's prefix cache. The metrics
also differ after rounding: otherwise the gateway would coalesce or cache brief answers.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import Any

import httpx

from app.contract.fingerprint import EXAMPLE

REQUESTS = {"brief": 20, "full": 5}
MADE = {"Cache-Control": "no-store"}
FIGURES = ("total_ms", "ttft_ms", "ms_per_token", "gateway_ms")


def main() -> None:
    url = os.environ.get("CONVICTION_URL", "http://127.0.0.1:8080")
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for detail, number in REQUESTS.items():
            ask(client, detail, 0)  # warms the prefix cache
            answers = [ask(client, detail, index) for index in range(1, number + 1)]
            print("\n".join(report(detail, answers)))


def ask(client: httpx.Client, detail: str, index: int) -> dict[str, Any]:
    """Return an answer; exit on an error."""
    metrics = EXAMPLE.document() | {"price": 571.29 + index / 10}
    response = client.post("/v1/recommendations", json={"metrics": metrics, "detail": detail}, headers=MADE)
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def report(detail: str, answers: list[dict[str, Any]]) -> Iterator[str]:
    tokens = statistics.median(answer["usage"]["completion_tokens"] for answer in answers)
    yield f"{detail}: {len(answers)} requests to {answers[0]['model']}, {tokens:g} tokens each (median)"
    for name in FIGURES:
        values = [answer["timing"][name] for answer in answers if answer["timing"][name] is not None]
        if values:
            yield f"  {name:<13} median {statistics.median(values):8.1f}   longest {max(values):8.1f}"


if __name__ == "__main__":
    main()

"""Requests to a running gateway, each about other figures, so that no cache answers; only the prompt's fixed part,
which vLLM keeps, is the same."""

from __future__ import annotations

import json
import random
import statistics
from itertools import count
from time import perf_counter
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from bench.varied import ticker, varied

NUMBER = {"brief": 10, "full": 3}
TIMEOUT_S = 180


class Questions:
    """Asks the gateway at `url` about the documentation's example, its figures changed from one request to the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = build_opener(ProxyHandler({}))
        self._numbers = count(random.randrange(10**9))  # noqa: S311 - figures, not secrets
        self._example = self._documented()

    def ask(self, detail: str) -> dict[str, Any]:
        """Return an answer, with the `seconds` that the client waited."""
        number = next(self._numbers)
        body = {"ticker": ticker(number), "metrics": varied(self._example, number), "detail": detail}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        request = Request(f"{self._url}/v1/recommendations", json.dumps(body).encode(), headers)  # noqa: S310
        began = perf_counter()
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)
        return answer | {"seconds": perf_counter() - began}

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the medians of several answers by detail, after one each that fills vLLM's prefix cache.

        Raises `ValueError` for an answer that is not the model's.
        """
        found = {}
        for detail, number in NUMBER.items():
            self.ask(detail)
            answers = [self.ask(detail) for _ in range(number)]
            for answer in answers:
                if answer["source"] != "model" or answer["stand_in"]:
                    raise ValueError(f"the model did not make this answer: {answer}")
            seconds = [answer["seconds"] for answer in answers]
            tokens = [answer["usage"]["completion_tokens"] for answer in answers]
            found[detail] = {
                "seconds": round(statistics.median(seconds), 3),
                "longest_seconds": round(max(seconds), 3),
                "tokens": statistics.median(tokens),
                "requests": number,
            }
        return found

    def _documented(self) -> dict[str, Any]:
        """Return the metrics of the first example in the gateway's OpenAPI document."""
        with self._opener.open(f"{self._url}/openapi.json", timeout=TIMEOUT_S) as response:
            operation = json.load(response)["paths"]["/v1/recommendations"]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        metrics: dict[str, Any] = examples["full"]["value"]["metrics"]
        return metrics

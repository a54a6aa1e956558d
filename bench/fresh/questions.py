"""Requests to a running gateway, each about other figures, so that no cache answers; only the prompt's fixed part,
which vLLM keeps, is the same."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator
from itertools import count
from time import perf_counter
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

NUMBER = {"brief": 10, "full": 3}
DERIVED = ("iv_skew", "put_call_ratio")
"""Figures that follow from others; the gateway refuses those that contradict them."""
TIMEOUT_S = 180


class Questions:
    """Asks the gateway at `url` about the documentation's example, its figures changed from one request to the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = build_opener(ProxyHandler({}))
        self._numbers = count(random.randrange(10**9))  # noqa: S311 - figures, not secrets
        self._example = self._documented()

    def ask(self, detail: str) -> dict[str, Any]:
        """Return one answer's seconds and tokens; raise `ValueError` for an answer that is not the model's."""
        number = next(self._numbers)
        body = {"ticker": ticker(number), "metrics": varied(self._example, number), "detail": detail}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        request = Request(f"{self._url}/v1/recommendations", json.dumps(body).encode(), headers)  # noqa: S310
        began = perf_counter()
        with self._opener.open(request, timeout=TIMEOUT_S) as response:
            answer = json.load(response)
        seconds = perf_counter() - began
        if answer["source"] != "model" or answer["stand_in"]:
            raise ValueError(f"the model did not make this answer: {answer}")
        return {"seconds": seconds, "tokens": answer["usage"]["completion_tokens"]}

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the medians of several answers by detail, after one each that fills vLLM's prefix cache."""
        found = {}
        for detail, number in NUMBER.items():
            self.ask(detail)
            answers = [self.ask(detail) for _ in range(number)]
            found[detail] = dict(_medians(answers)) | {"requests": number}
        return found

    def _documented(self) -> dict[str, Any]:
        with self._opener.open(f"{self._url}/openapi.json", timeout=TIMEOUT_S) as response:
            operation = json.load(response)["paths"]["/v1/recommendations"]["post"]
        metrics: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["examples"]["full"]["value"][
            "metrics"
        ]
        return metrics


def _medians(answers: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for name in ("seconds", "tokens"):
        yield name, round(statistics.median(answer[name] for answer in answers), 3)
    yield "longest_seconds", round(max(answer["seconds"] for answer in answers), 3)


def varied(example: Any, number: int) -> Any:
    """Return the example's metrics, each figure drawn around its own value; the number decides the draw."""
    return _varied({name: _without_derived(value) for name, value in example.items()}, random.Random(number))  # noqa: S311


def ticker(number: int) -> str:
    """Return a ticker of four letters for a number."""
    return "".join(chr(ord("A") + number // 26**place % 26) for place in range(4))


def _without_derived(value: Any) -> Any:
    return {name: each for name, each in value.items() if name not in DERIVED} if isinstance(value, dict) else value


def _varied(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict):
        return {name: _varied(each, draw) for name, each in value.items()}
    if isinstance(value, int):
        return max(1, int(value * draw.uniform(0.3, 2)))
    return value * draw.uniform(0.8, 1.2) if isinstance(value, float) else value

"""Service times of model servers: the input figures, and the paces computed from them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from deploy.loadtest.queueing import Floats

FIGURES = Path(__file__).with_name("figures.toml")
Positive = Annotated[float, Field(gt=0)]
Detail = Literal["brief", "full"]


class _Figures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(_Figures):
    """Tokens of the prompt, of its uncached part, and of the answer."""

    prompt: Positive
    read: Positive
    answer: Positive


class Requests(_Figures):
    source: str
    brief: Request
    full: Request


class ModelServer(_Figures):
    name: str
    requests: str
    step_ms: dict[int, Positive]
    read_ms: Positive
    usd_per_hour: Positive
    source: str

    @property
    def concurrency(self) -> int:
        return max(self.step_ms)

    def pace(self, request: Request) -> list[float]:
        """Seconds of a request while n are answered together, by n up to `concurrency`: its tokens' steps, and the time
        in which its own prompt and the others' are read, one each while it is there."""
        together = np.arange(self.concurrency + 1)
        step_ms = np.interp(together, list(self.step_ms), list(self.step_ms.values()))
        pace: list[float] = ((request.answer * step_ms + together * request.read * self.read_ms) / 1000).tolist()
        return pace

    def per_second(self, request: Request) -> float:
        """The largest number of concurrent requests."""
        return self.concurrency / self.pace(request)[-1]


class Assumptions(_Figures):
    full_spread: Positive
    start_s: tuple[Positive, ...]


class Step(_Figures):
    replicas: int
    every_s: Positive
    after_s: float = 0.0


class Scaling(_Figures):
    poll_s: Positive
    waiting: Positive
    running: Positive
    up: Step
    down: Step
    most: int


class Figures(_Figures):
    requests: dict[str, Requests]
    servers: dict[str, ModelServer]
    assumptions: Assumptions
    scaling: Scaling

    def request(self, server: ModelServer, detail: Detail) -> Request:
        found: Request = getattr(self.requests[server.requests], detail)
        return found

    def work(self, detail: Detail, number: int, draw: np.random.Generator) -> Floats:
        """Return the lengths of requests, relative to the mean length."""
        if detail == "brief":
            return np.ones(number)
        shape = 1 / self.assumptions.full_spread**2
        return draw.gamma(shape, 1 / shape, number)


def figures() -> Figures:
    return Figures.model_validate(tomllib.loads(FIGURES.read_text()))


def usd_per_1k_tokens(server: ModelServer, request: Request, requests: int, paid_s: float) -> float:
    """Return the cost of the servers in that time per 1,000 tokens of prompts and answers."""
    return server.usd_per_hour * paid_s / 3600 / (requests * (request.prompt + request.answer)) * 1000

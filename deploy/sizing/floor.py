"""A roofline model: the least time in which a GPU can read the weights and the cache and compute.

No engine on the card is faster, so these rates are ceilings. Published rates, as shares of their
ceilings, show how close an engine comes.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FIGURES = Path(__file__).with_name("figures.toml")
HOUR_S = 3600
Positive = Annotated[float, Field(gt=0)]
Address = Annotated[str, Field(pattern=r"https://\S+")]
"""A source that can be looked up."""


class _Figures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Figures):
    """A decoder with grouped-query attention and a gated feed-forward layer, of no bias."""

    name: str
    source: str
    layers: int
    hidden: int
    intermediate: int
    kv_heads: int
    head_size: int
    vocabulary: int
    bits_a_weight: Positive
    kv_bytes_a_value: int

    @property
    def quantised(self) -> int:
        """Weights of the layers."""
        attention = 2 * self.hidden**2 + 2 * self.hidden * self.kv_heads * self.head_size
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def bytes_a_token(self) -> float:
        """Weights read for one token: the layers, the output layer, and one row of the embeddings."""
        return self.quantised * self.bits_a_weight / 8 + 2 * self.vocabulary * self.hidden

    @property
    def bytes(self) -> float:
        return self.bytes_a_token + 2 * self.vocabulary * self.hidden

    @property
    def flops_a_token(self) -> float:
        return 2.0 * (self.quantised + self.vocabulary * self.hidden)

    @property
    def kv_bytes_a_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_size * self.kv_bytes_a_value


class Request(_Figures):
    """Tokens; `shared` ones of the prompt are in the prefix cache."""

    prompt: int
    answer: int
    shared: int = 0


class Load(Request):
    """The number of concurrent requests."""

    concurrency: int


class Requests(_Figures):
    source: str
    brief: Request
    full: Request


class Server(_Figures):
    source: str
    memory_share: Positive
    other_bytes: float
    concurrency: int


class Gpu(_Figures):
    """Bytes, bytes a second, and 16-bit operations a second without sparsity."""

    memory: Positive
    bandwidth: Positive
    flops: Positive
    source: Address
    note: str = ""


class Published(_Figures):
    gpu: str
    engine: str
    what: Load
    tokens_per_second: Positive
    source: Address


class Figures(_Figures):
    model: Model
    requests: Requests
    server: Server
    gpus: dict[str, Gpu]
    published: tuple[Published, ...]

    def ms_a_token(self, gpu: Gpu) -> float:
        """Milliseconds a token of a single request: the time to read the weights."""
        return 1000 * self.model.bytes_a_token / gpu.bandwidth

    def kv_room(self, gpu: Gpu) -> int:
        """Tokens whose keys and values fit into memory."""
        left = gpu.memory * self.server.memory_share - self.model.bytes - self.server.other_bytes
        return int(left / self.model.kv_bytes_a_token)

    def seconds(self, gpu: Gpu, load: Load) -> float:
        """Seconds of GPU time a request, at a concurrency."""
        model = self.model
        context = load.prompt + load.answer / 2
        step_bytes = model.bytes_a_token + load.concurrency * context * model.kv_bytes_a_token
        step = max(step_bytes / gpu.bandwidth, load.concurrency * model.flops_a_token / gpu.flops)
        reading = (load.prompt - load.shared) * model.flops_a_token / gpu.flops
        return reading + load.answer * step / load.concurrency

    def an_hour(self, gpu: Gpu, request: Request) -> float:
        """The ceiling in requests an hour."""
        concurrency = min(self.server.concurrency, self.kv_room(gpu) // (request.prompt + request.answer))
        return HOUR_S / self.seconds(gpu, Load(**request.model_dump(), concurrency=concurrency))

    def share(self, published: Published) -> float:
        """The measured share of the ceiling."""
        load = published.what
        return published.tokens_per_second * self.seconds(self.gpus[published.gpu], load) / (load.prompt + load.answer)

    def to_plan_with(self, name: str) -> float | None:
        """Return the card's lowest published share; None where reading prompts or writing answers is not published."""
        rows = [each for each in self.published if each.gpu == name]
        both = any(each.what.prompt for each in rows) and any(each.what.answer for each in rows)
        return min(map(self.share, rows)) if both else None


def figures(path: Path = FIGURES) -> Figures:
    return Figures.model_validate(tomllib.loads(path.read_text()))

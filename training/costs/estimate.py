"""Estimates of training Mistral 7B on GPUs: none was measured by this project. Money in USD.

Time = tokens x FLOPs per token / (peak x utilisation x GPUs x scaling). The utilisation is that of published rates of
LoRA on a model of this size, the scaling that of the case study's runs on 2 and 4 GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.pricing.prices import host_price
from training.costs import case_study as study
from training.costs.case_study import Training
from training.markdown import table

MODEL = "Mistral 7B"
WEIGHTS = Decimal("7.1e9")
"""Weights in matrix products, of Mistral 7B v0.3 as of Qwen-7B: linear layers and output layer, from their configs."""
FLOPS_PER_TOKEN = 4 * WEIGHTS
"""Of LoRA: 2 forward and 2 backward a weight, since frozen weights have no gradient. Attention, the adapter and
activations that are computed again count as lost time."""
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Rate:
    """A published rate of LoRA on one GPU."""

    tokens_per_second: Decimal
    what: str
    source: str


@dataclass(frozen=True)
class Gpu:
    """`peak` is 16-bit operations a second without sparsity; without a `rate`, the utilisation is the A100's."""

    name: str
    vendor: str
    host: str
    peak: Decimal
    rate: Rate | None = None

    @property
    def utilisation(self) -> Decimal:
        gpu, rate = (self, self.rate) if self.rate else (A100, A100_RATE)
        return rate.tokens_per_second * FLOPS_PER_TOKEN / gpu.peak


A100_RATE = Rate(
    Decimal(8 * 2048) / Decimal("5.2"),
    "Qwen-7B, 8 rows of 2,048 tokens in 5.2 s",
    "https://github.com/QwenLM/Qwen#profiling-of-memory-and-speed",
)
H100_RATE = Rate(
    Decimal(5720),
    "Mistral 7B, rows of 32,768 tokens",
    "https://github.com/mistralai/mistral-finetune/blob/main/utils/validate_data.py",
)
A10 = Gpu("A10 - 24GB", "Lambda", "a10", Decimal("125e12"))
"""Peak: https://www.baseten.co/blog/nvidia-a10-vs-a10g-for-ml-model-inference/"""
A100 = Gpu("A100 - 80GB", "Runpod", "a100-80gb", Decimal("312e12"), A100_RATE)
H100 = Gpu("H100 - 80GB", "Lambda", "h100", Decimal("989e12"), H100_RATE)
"""Peaks of A100 and H100: deploy/sizing/figures.toml."""
GPUS = (A10, A100, H100)


def _seconds(gpu: Gpu) -> Decimal:
    """Return the time of a token on one GPU."""
    return FLOPS_PER_TOKEN / (gpu.peak * gpu.utilisation)


def _case_study_ratio() -> Decimal:
    """Return how many times as long as one A100 the case study's A10 took."""
    a100, a10 = (
        next(row.seconds for row in study.TRAINING if (row.vendor, row.model, row.devices) == (vendor, MODEL, 1))
        for vendor in ("Runpod", "QWAK")
    )
    return a10 / a100


def scaling() -> dict[int, Decimal]:
    """Return by number of GPUs the share of their speed that the case study's runs kept."""
    seconds = {row.devices: row.seconds for row in study.TRAINING if (row.vendor, row.model) == ("Runpod", MODEL)}
    return {devices: seconds[1] / (devices * each) for devices, each in seconds.items()}


def estimates(tokens: int, data: str) -> Iterator[Training]:
    """Yield a row for each GPU and number of GPUs, of one pass over `tokens` of the configuration `data`."""
    for gpu in GPUS:
        usd_per_hour = host_price(gpu.host).usd_per_hour
        for devices, share in scaling().items():
            seconds = tokens * _seconds(gpu) / (devices * share)
            usd = usd_per_hour * devices
            cost = (usd * seconds / 3600).quantize(CENT)
            yield Training("estimate", gpu.vendor, gpu.name, f"{MODEL} ({data})", devices, tokens, seconds, usd, cost)


def assumptions() -> Iterator[str]:
    """Yield the estimates' formula and inputs as Markdown."""
    shares = ", ".join(f"{share:.2f} of {devices} GPUs" for devices, share in scaling().items() if devices > 1)
    yield (
        f"An *estimate* is of {MODEL} on the tokens of the row's configuration, read once and counted by its "
        "tokenizer; several passes take a multiple. Time = tokens x FLOPs per token / (peak x utilisation x GPUs x "
        f"scaling), with 4 x {WEIGHTS / 10**9:f} billion = {FLOPS_PER_TOKEN / 10**9:f} billion FLOPs per token and the "
        f"case study's scaling: {shares}. Utilisation = published tokens/s x FLOPs per token / peak; where none was "
        f"found, the A100's, by which an A10 takes {_seconds(A10) / _seconds(A100):.1f} times an A100's time; the case "
        f"study's took {_case_study_ratio():.1f}. No GPU was measured here, and shorter rows, validation and loading "
        "take longer. Cost = time x price per hour of one GPU x GPUs."
    )
    yield table(["GPU", "peak, TFLOP/s", "published tokens/s", "utilisation", "of LoRA on"], map(_inputs, GPUS))


def _inputs(gpu: Gpu) -> list[str]:
    cells = [gpu.name, f"{gpu.peak / 10**12:f}"]
    if gpu.rate is None:
        return [*cells, "not found", f"{gpu.utilisation:.3f}, assumed", "-"]
    rate = gpu.rate
    return [*cells, f"{rate.tokens_per_second:,.0f}", f"{gpu.utilisation:.3f}", f"[{rate.what}]({rate.source})"]

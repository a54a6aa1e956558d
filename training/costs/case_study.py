"""Figures published by the case study, as printed.

Source: "Effective Cost Reduction and Maintaining Accuracy by Fine-Tuning Mistral 7B with GPT-4 Data". Money is in
USD; its list prices of tokens and of machines are in `app/pricing/prices.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from app.pricing.prices import host_price, prices

PUBLISHED = "published"


@dataclass(frozen=True)
class Training:
    """A row of the training-cost table; None if not stated.

    `devices` are GPUs or processes, `tokens` those of the training pairs once; `usd_per_hour` covers all devices.
    """

    source: str
    vendor: str
    machine: str
    model: str
    devices: int
    tokens: int | None
    seconds: Decimal
    usd_per_hour: Decimal | None
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Hosting:
    """A row of the hosting-cost table; `usd_per_call` and the fields after it are as printed."""

    vendor: str
    machine: str
    model: str
    usd_per_hour: Decimal | None
    calls_per_hour: Decimal
    tokens_per_call: Decimal
    tokens_per_second: Decimal | None
    usd_per_call: Decimal
    usd_per_1k: Decimal
    ms_per_token: Decimal | None


def _runpod(model: str, devices: int, minutes: int, seconds: int, usd_per_hour: str, cost: str) -> Training:
    time = Decimal(60 * minutes + seconds)
    return Training(
        PUBLISHED, "Runpod", "A100 - 80GB", model, devices, None, time, Decimal(usd_per_hour), Decimal(cost)
    )


TRAINING = (
    _runpod("Mistral 7B", 1, 46, 43, "1.89", "1.46"),
    _runpod("Mistral 7B", 2, 24, 21, "3.78", "1.53"),
    _runpod("Mistral 7B", 4, 13, 14, "7.56", "1.66"),
    Training(PUBLISHED, "QWAK", "A10.8xl (1 NVIDIA A10)", "Mistral 7B", 1, None, Decimal(6660), None, None),
    _runpod("Llama-2 7B", 1, 44, 36, "1.89", "1.41"),
)

CALLS_PER_HOUR = Decimal(200)
TOKENS_PER_CALL = Decimal(1000)
"""Prompt and answer tokens together."""
USD_PER_HOUR = host_price("g4dn.xlarge").usd_per_hour
GPT4_USD_PER_1K = prices().case_study.gpt4_usd_per_1k_tokens
MISTRAL_USD_PER_1K = prices().case_study.mistral_usd_per_1k_tokens

MISTRAL = Hosting(
    "Runpod", "A100 - 80GB; ml.g4dn.xlarge", "Mistral 7B", USD_PER_HOUR, CALLS_PER_HOUR, TOKENS_PER_CALL, None,
    Decimal("0.003682"), MISTRAL_USD_PER_1K, prices().case_study.mistral_ms_per_token,
)  # fmt: skip
GPT4 = Hosting(
    "OpenAI", "-", "GPT-4", None, CALLS_PER_HOUR, TOKENS_PER_CALL, None,
    GPT4_USD_PER_1K, GPT4_USD_PER_1K, prices().case_study.gpt4_ms_per_token,
)  # fmt: skip

DATASET_USD = Decimal(15)
FINETUNING_USD = Decimal(2)
HOSTING_USD_PER_DAY = Decimal(10)

AGREEMENT = {1000: Decimal("0.85"), 20_000: Decimal(1)}
"""Accuracy of the tuned model compared to GPT-4, by input/output pairs: measured at 1,000, expected at 20,000."""

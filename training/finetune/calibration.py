"""Calibration samples for quantization, in the served template, from the packaged sample market."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.contract import rule_based_analyst as rules
from app.contract.prompt import Detail
from app.contract.recommendation import canonical
from app.market import InsufficientHistory
from app.market.sample import SampleProvider
from app.market.snapshot import take_snapshot
from training.artifacts import write_json
from training.config.quantize import Quantize
from training.finetune.examples import encode

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
YEARS = 8


def calibrate(model: Path, settings: Quantize, out: Path) -> None:
    """Write token ids of `settings.samples` prompts with the rule-based analyst's answers.

    Raises `TooLong` for a sample of more than `max_length` tokens: without its end, the layers' inputs would be the
    prompts' alone.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    examples = [encode(row, tokenizer, settings.max_length) for row in _rows(settings.samples)]
    ids = [[*example.prompt, *example.answer] for example in examples]
    write_json(out, {"teacher": rules.MODEL_ID, "market": "sample", "ids": ids})


def _rows(count: int) -> list[dict[str, Any]]:
    provider, draw = SampleProvider(), random.Random(0)  # noqa: S311 - reproducible, not secret
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        ticker = TICKERS[len(rows) % len(TICKERS)]
        last = provider.bars(ticker, None).index[-1].date()
        as_of = last - timedelta(days=draw.randrange(365 * YEARS))
        try:
            metrics = take_snapshot(provider, ticker, as_of, "simulated").metrics
        except InsufficientHistory:
            continue
        detail: Detail = "full" if len(rows) % 2 else "brief"
        answer = canonical(rules.answer(metrics, detail))
        rows.append(
            {"ticker": ticker, "as_of": str(as_of), "detail": detail, "metrics": metrics.document(), "answer": answer}
        )
    return rows

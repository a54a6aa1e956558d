"""The fingerprint: a hash of the schemas and rendered prompts that training and serving must share."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from app.contract.features import METRIC_NAMES, Metrics
from app.contract.prompt import Detail, messages
from app.contract.recommendation import ANSWERS, answer_schema

EXAMPLE = Metrics.model_validate_json(
    """{"as_of": "2024-03-08", "price": 571.29,
    "options": {"call_iv_avg": 57.40, "put_iv_avg": 68.32, "iv_skew": -10.92,
        "call_last_price_avg": 77.87, "put_last_price_avg": 23.00, "call_volume": 268, "put_volume": 1947,
        "put_call_ratio": 7.26, "call_open_interest": 9455, "put_open_interest": 11688},
    "technicals": {"MACD_12_26_9": 10.44, "MACDh_12_26_9": 0.63, "MACDs_12_26_9": 9.81, "RSI_14": 59.44,
        "BBP_20_2.0": 0.76, "SMA_20": 563.1, "SMA_50": 541.2, "SMA_200": 487.9, "EMA_50": 544.7,
        "STOCHk_14_3_3": 45.65, "STOCHd_14_3_3": 45.95, "ADX_14": 24.1, "CMF_20": 0.06, "MFI_14": 55.2,
        "ROC_10": 1.8, "TRIX_30_9": 0.21, "CCI_14_0.015": 48.3, "OBV": 18.84,
        "PIVOT": 575.82, "R1": 579.43, "R2": 583.04, "S1": 572.21, "S2": 568.6}}"""
)
"""The case study's figures of SNPS. It does not print the averages' levels, ADX to CCI, and the pivots except S1."""

SPARSE = Metrics.model_validate({"price": 12.5, "technicals": {"RSI_14": 28.0, "MFI_14": 15.5, "OBV": -0.4}})
GOLDEN: tuple[tuple[str | None, Metrics], ...] = (("SNPS", EXAMPLE), (None, EXAMPLE), ("TINY", SPARSE))


@cache
def fingerprint() -> str:
    """Return twelve hex digits that depend on the metrics' names, the answer schemas and the prompt's wording."""
    details: tuple[Detail, ...] = tuple(ANSWERS)
    parts: list[object] = [
        METRIC_NAMES,
        [answer_schema(detail) for detail in details],
        [messages(metrics, ticker, detail) for ticker, metrics in GOLDEN for detail in details],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

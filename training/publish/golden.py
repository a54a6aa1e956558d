"""Golden prompts: their answers are recorded at publication and compared after a rebuild."""

from __future__ import annotations

import httpx

from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE
from app.contract.manifest import Golden
from training.evaluation.clients import Unreachable, connect

BULLISH = {
    "price": 104.2,
    "options": {"call_iv_avg": 31.0, "put_iv_avg": 28.5, "call_volume": 5200, "put_volume": 2900},
    "technicals": {
        "MACD_12_26_9": 1.9, "MACDs_12_26_9": 1.4, "MACDh_12_26_9": 0.5, "RSI_14": 63.0, "BBP_20_2.0": 0.83,
        "SMA_20": 101.5, "SMA_50": 98.0, "SMA_200": 93.0, "EMA_50": 98.6, "STOCHk_14_3_3": 74.0,
        "STOCHd_14_3_3": 69.0, "ADX_14": 31.0, "CMF_20": 0.18, "MFI_14": 61.0, "ROC_10": 4.1, "TRIX_30_9": 0.21,
        "CCI_14_0.015": 110.0, "OBV": 22.0,
    },
}  # fmt: skip
BEARISH = {
    "price": 41.3,
    "options": {"call_iv_avg": 38.0, "put_iv_avg": 49.5, "call_volume": 800, "put_volume": 1900},
    "technicals": {
        "MACD_12_26_9": -1.2, "MACDs_12_26_9": -0.8, "MACDh_12_26_9": -0.4, "RSI_14": 38.0, "BBP_20_2.0": 0.18,
        "SMA_20": 43.0, "SMA_50": 45.1, "SMA_200": 46.6, "EMA_50": 44.7, "STOCHk_14_3_3": 29.0,
        "STOCHd_14_3_3": 34.0, "ADX_14": 29.0, "CMF_20": -0.21, "MFI_14": 36.0, "ROC_10": -5.2, "TRIX_30_9": -0.24,
        "CCI_14_0.015": -118.0, "OBV": -14.0,
    },
}  # fmt: skip
UNDECIDED = {
    "price": 60.0,
    "options": {"call_iv_avg": 30.0, "put_iv_avg": 31.0, "call_volume": 1000, "put_volume": 1000},
    "technicals": {"RSI_14": 50.0, "BBP_20_2.0": 0.5, "ADX_14": 14.0, "CMF_20": 0.01, "MFI_14": 50.0, "ROC_10": 0.3},
}
GOLDEN: tuple[tuple[str, Metrics], ...] = (
    ("SNPS", EXAMPLE),
    ("BULL", Metrics.model_validate(BULLISH)),
    ("BEAR", Metrics.model_validate(BEARISH)),
    ("FLAT", Metrics.model_validate(UNDECIDED)),
)


async def answers(url: str) -> list[Golden]:
    """Return the model's brief answers to the golden prompts; raise `Unreachable` if one fails."""
    async with httpx.AsyncClient(timeout=120) as client:
        model_client = await connect(client, url, None, None)
        golden = []
        for ticker, metrics in GOLDEN:
            prediction = await model_client.ask(ticker, metrics, "brief")
            if prediction.action is None:
                raise Unreachable(f"{url}: golden prompt {ticker}: {prediction.failure}")
            golden.append(Golden(ticker=ticker, metrics=metrics.document(), action=prediction.action))
        return golden

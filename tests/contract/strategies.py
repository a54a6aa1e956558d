"""Random metrics within their bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from app.contract.features import Metrics

PRICES = st.floats(0.5, 5000).map(lambda value: round(value, 2))
PERCENT = st.floats(0, 100).map(lambda value: round(value, 2))
SIGNED = st.floats(-50, 50).map(lambda value: round(value, 3))
COUNTS = st.integers(0, 2_000_000)

OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "call_iv_avg": PERCENT,
    "put_iv_avg": PERCENT,
    "call_last_price_avg": PRICES,
    "put_last_price_avg": PRICES,
    "call_volume": COUNTS,
    "put_volume": COUNTS,
    "call_open_interest": COUNTS,
    "put_open_interest": COUNTS,
}
TECHNICALS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("RSI_14", "STOCHk_14_3_3", "STOCHd_14_3_3", "ADX_14", "MFI_14"), PERCENT),
    **dict.fromkeys(("SMA_20", "SMA_50", "SMA_200", "EMA_50", "PIVOT", "R1", "R2", "S1", "S2"), PRICES),
    **dict.fromkeys(("MACD_12_26_9", "MACDh_12_26_9", "MACDs_12_26_9", "ROC_10", "TRIX_30_9", "OBV"), SIGNED),
    "BBP_20_2.0": st.floats(-0.5, 1.5).map(lambda value: round(value, 3)),
    "CMF_20": st.floats(-1, 1).map(lambda value: round(value, 3)),
    "CCI_14_0.015": st.floats(-460, 460).map(lambda value: round(value, 1)),
}


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Bodies of metrics: any of them may be missing, three at least are there."""
    return (
        st.fixed_dictionaries(
            {
                "options": st.fixed_dictionaries({}, optional=OPTIONS),
                "technicals": st.fixed_dictionaries({}, optional=TECHNICALS),
            },
            optional={"price": PRICES},
        )
        .filter(lambda body: len(body["options"]) + len(body["technicals"]) + ("price" in body) >= 3)
    )  # fmt: skip


def metrics() -> st.SearchStrategy[Metrics]:
    return documents().map(Metrics.model_validate)

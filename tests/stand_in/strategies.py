"""Strategies for metrics within their bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from app.contract.features import METRIC_NAMES, OPTION_NAMES, TECHNICAL_NAMES, Metrics, Options, Technicals

NEAR = ("price", "SMA_20", "SMA_50", "SMA_200", "EMA_50", "PIVOT", "R1", "R2", "S1", "S2")


def _bounds() -> dict[str, tuple[float, float, bool]]:
    """Return each metric's bounds in the schema, and whether the lower one is excluded."""
    fields = {**Options.model_fields, **Technicals.model_fields, "price": Metrics.model_fields["price"]}
    bounds = {}
    for name, field in fields.items():
        limits = {
            key: getattr(part, key) for part in field.metadata for key in ("ge", "gt", "le") if hasattr(part, key)
        }
        bounds[field.alias or name] = (
            float(limits["gt"] if "gt" in limits else limits["ge"]),
            float(limits["le"]),
            "gt" in limits,
        )
    return bounds


BOUNDS = _bounds()
COUNTS = tuple(name for name in OPTION_NAMES if "volume" in name or "open_interest" in name)


def _value(name: str) -> st.SearchStrategy[float]:
    low, high, open_below = BOUNDS[name]
    if name in COUNTS:
        return st.integers(0, 5000) | st.integers(0, int(high))
    wide = st.floats(low, high, exclude_min=open_below)
    if name in NEAR:
        return st.floats(45, 55) | wide
    return st.floats(max(low, -120), min(high, 120), exclude_min=open_below and low >= -120) | wide


@st.composite
def metrics(draw: st.DrawFn) -> Metrics:
    """Draw three or more metrics; values that could contradict their parts are left to be derived."""
    names = draw(st.sets(st.sampled_from(METRIC_NAMES), min_size=3))
    if names & {"call_iv_avg", "put_iv_avg"}:
        names -= {"iv_skew"}
    if names & {"call_volume", "put_volume"}:
        names -= {"put_call_ratio"}
    names |= set() if len(names) >= 3 else {"RSI_14", "OBV", "price"}
    values = {name: draw(_value(name)) for name in METRIC_NAMES if name in names}
    document: dict[str, Any] = {
        "options": {name: values[name] for name in OPTION_NAMES if name in values},
        "technicals": {name: values[name] for name in TECHNICAL_NAMES if name in values},
    }
    return Metrics.model_validate(document | ({"price": values["price"]} if "price" in values else {}))

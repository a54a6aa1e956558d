"""The text that `conviction up` prints once the gateway is ready: its address and two requests to try."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from app.market.dated_sample import SAMPLE_END
from app.settings.gateway import Settings

METRICS: dict[str, Any] = {
    "price": 571.29,
    "options": {"call_volume": 268, "put_volume": 1947},
    "technicals": {"RSI_14": 59.44, "MACDh_12_26_9": 0.63, "BBP_20_2.0": 0.76, "SMA_50": 541.2},
}
"""Some of the case study's figures of SNPS."""

EXAMPLE_TICKERS = {"sample": "MSFT"}
"""A ticker of each market that lacks AAPL."""


def welcome(settings: Settings, url: str, market: str) -> Iterator[str]:
    """Yield the lines; `market` is the one that the gateway serves."""
    yield ""
    yield f"Conviction is ready at {url} (documentation: {url}/docs)."
    if market != settings.market:
        yield (
            f"The market {settings.market} cannot be reached: tickers are looked up in {market} data up to "
            f"{SAMPLE_END}, whose options are simulated; every answer says so."
        )
    if settings.openai_api_key is None:
        yield "X-Backend: gpt-4 needs OPENAI_API_KEY to be set."
    yield "With metrics in the request, and by ticker:"
    yield ""
    yield curl(settings, url, {"ticker": "SNPS", "metrics": METRICS, "detail": "brief"})
    yield ""
    dated = {} if market == settings.market else {"as_of": str(SAMPLE_END)}
    yield curl(settings, url, {"ticker": EXAMPLE_TICKERS.get(market, "AAPL"), **dated, "detail": "brief"})
    yield ""
    yield "Ctrl-C stops everything."


def curl(settings: Settings, url: str, body: dict[str, Any]) -> str:
    """Return the shell command that posts a body."""
    key = "" if settings.api_keys_file is None else " -H 'Authorization: Bearer '\"$CONVICTION_API_KEY\""
    data = shlex.quote(json.dumps(body))
    return f"curl -s {url}/v1/recommendations -H 'Content-Type: application/json'{key} \\\n  -d {data}"

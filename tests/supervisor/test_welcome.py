"""The text at the start: its requests are answered by the market that is served."""

from __future__ import annotations

import json
import re
import shlex
from datetime import date

import pytest

from app.market import open_provider
from app.market.dated_sample import DatedSample
from app.settings.gateway import Settings
from app.supervisor.welcome import welcome


def bodies(settings: Settings, market: str) -> list[dict[str, str]]:
    text = "\n".join(welcome(settings, "http://127.0.0.1:8080", market))
    return [json.loads(shlex.split(command)[-1]) for command in re.findall(r"^curl .*\n.*$", text, re.MULTILINE)]


def test_the_example_by_ticker_is_answered_without_a_network() -> None:
    _, by_ticker = bodies(Settings(market="yfinance", market_fallback="dated-sample"), "sample")
    market = DatedSample(open_provider("sample"))
    assert len(market.bars(by_ticker["ticker"], date.fromisoformat(by_ticker["as_of"]))) > 250


@pytest.mark.parametrize("market", ["yfinance", "sample"])
def test_the_market_of_the_settings_is_asked_for_its_last_close(market: str) -> None:
    _, by_ticker = bodies(Settings.model_validate({"market": market}), market)
    assert "as_of" not in by_ticker

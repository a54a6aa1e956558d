"""The console in a browser: what pairs tell, and what it all costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from app.contract.fingerprint import EXAMPLE
from tests.console.conftest import TIMEOUT_S, gateway_process, window
from tests.console.test_asking import NONE, until

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUPS = '[aria-label="Figures by group"] tbody tr'
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
"""Five, the fewest that an interval is given for."""


def pair(origin: str, ticker: str, price: float) -> None:
    metrics = EXAMPLE.document() | {"price": price}
    body = json.dumps({"ticker": ticker, "metrics": metrics, "detail": "brief"}).encode()
    request = Request(f"{origin}/v1/comparisons", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=TIMEOUT_S) as response:
        assert json.load(response)["stored"]


def costs_of(origin: str) -> Any:
    with urlopen(f"{origin}/v1/costs", timeout=TIMEOUT_S) as response:
        return json.load(response)


async def test_the_report_is_empty_then_follows_the_pairs(browser: Browser, slow_stand_in: str) -> None:
    with gateway_process(slow_stand_in) as serving:
        origin = f"http://127.0.0.1:{serving.port}"
        async with window(browser, origin) as opened:
            page = opened.page
            await page.click('nav a[href="#compare"]')
            await page.get_by_role("heading", name="No pairs yet").wait_for()
            assert "conviction compare --batch" in await page.inner_text("#report")
            await page.click('nav a[href="#costs"]')
            await page.get_by_role("heading", name="No calls").wait_for()
            assert NONE in await page.inner_text(".cost-figures >> nth=0")

            for price in (520.0, 571.29, 610.0):
                for ticker in TICKERS:
                    pair(origin, ticker, price)
            await page.click('nav a[href="#compare"]')
            await page.locator(".confusion").wait_for()
            text = await page.inner_text("#report")
            assert "Agreement" in text and "100.0%" in text and "95% interval" in text
            assert "all of mistral's and all of gpt-4's are a rule-based stand-in's" in text
            cells = await page.locator(".confusion td:not(.corner)").all_inner_texts()
            assert sum(int(cell.split()[0]) for cell in cells) == 15
            assert "valid whenever you look" in text
            (group,) = await page.locator(GROUPS).all_inner_texts()
            assert group.split()[:3] == ["brief", "15", "100.0%"]
            await page.select_option("#group-by", "ticker")
            await until(page, f"document.querySelectorAll(`{GROUPS}`).length === {len(TICKERS)}")
            assert await page.get_by_role("heading", name="Disagreements none").count() == 1
            table = await page.inner_text(".sides")
            for name in (
                "Latency",
                "First token",
                "Tokens per second",
                "Cost of a recommendation",
                "Unsupported figures",
            ):
                assert name in table
            for title in (
                "Latency by backend",
                "Cost of a recommendation by backend",
                "Latency over time",
                "Cost over time",
            ):
                chart = page.get_by_role("img", name=title)
                assert await chart.count() == 1
                assert "mistral: " in await chart.locator("desc").text_content()
            points = page.locator(".chart .point")
            before = await points.count()
            assert before == 2 * 2 * 15

            pair(origin, "MSFT", 571.29)
            await until(page, f"document.querySelectorAll('.chart .point').length === {before + 4}")
            await page.fill("#tickers", "ibm, fb")
            await page.press("#tickers", "Enter")
            await until(page, f"document.querySelectorAll('.chart .point').length === {2 * 2 * 6}")
            await page.fill("#tickers", "<b>")
            await page.press("#tickers", "Enter")
            await page.get_by_text("422 invalid_request").wait_for()


async def test_each_cost_has_its_formula(browser: Browser, open_gateway: str) -> None:
    pair(open_gateway, "MSFT", 571.29)
    costs = costs_of(open_gateway)
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.click('nav a[href="#costs"]')
        await page.locator(".cost-figures").first.wait_for()
        text = await page.inner_text("#figures")
        figures = [
            figure for group in ("hosted", "api", "break_even", "case_study") for figure in costs[group].values()
        ]
        assert await page.locator(".cost-figures .value").count() == len(figures) > 10
        for figure in figures:
            assert f"= {figure['formula']}" in text
        assert "$0.00368 per call" in text.replace("\n", "")
        chart = page.get_by_role("img", name="Cost of an hour by calls")
        assert "calls per hour" in await chart.locator("desc").text_content()

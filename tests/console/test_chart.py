"""The console in a browser: the price chart of an answer, and suggestions for the ticker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from tests.console.conftest import TIMEOUT_S, window
from tests.console.test_asking import answered, ask, choose, until
from tests.console.test_window import tab_to

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHART = ".price-chart"
SLIDER = f"{CHART} input[type=range]"
DRAWN = (
    "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    ".filter((value, at) => at % 4 === 3 && value > 0).length"
)
"""Pixels of a canvas that are not transparent."""


def bars(origin: str, ticker: str, query: str) -> Any:
    with urlopen(f"{origin}/v1/market/{ticker}/bars?{query}", timeout=TIMEOUT_S) as response:
        return json.load(response)


async def figure(page: Page, name: str) -> str:
    """Return a figure of the session that the chart points at."""
    return await page.locator(f"{CHART} .readout span", has_text=name).first.locator("b").inner_text()


async def colour_of(page: Page) -> str:
    """Return the color of the close in the legend, which the canvas takes."""
    return str(await page.evaluate(f"getComputedStyle(document.querySelector('{CHART} .dot')).backgroundColor"))


async def test_the_chart_has_the_bars_up_to_the_close_of_the_answer(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.fill("#as_of", "2012-06-02")
        await ask(page, detail="brief")
        await answered(page)
        await page.locator(SLIDER).wait_for()
        found = bars(open_gateway, "MSFT", "as_of=2012-06-02")
        asked = [request.url for request in opened.asked if "/bars" in request.url]
        assert asked == [f"{open_gateway}/v1/market/MSFT/bars?as_of=2012-06-02"]
        assert "Fri, 1 Jun 2012" in await page.inner_text(f"{CHART} h3")
        plots = page.locator(f"{CHART} canvas")
        assert await plots.count() == 2
        assert min([await plot.evaluate(DRAWN) for plot in await plots.all()]) > 500
        assert await figure(page, "RSI_14") == f"{found['indicators']['RSI_14'][-1]:.1f}"
        assert await figure(page, "SMA_50") == f"${found['indicators']['SMA_50'][-1]:.2f}"
        assert await figure(page, "R2") == f"${found['levels']['R2']:.2f}"
        text = str(await page.get_attribute(f"{CHART} .plots", "aria-label"))
        assert text.startswith("MSFT, 260 sessions") and "Fri, 1 Jun 2012" in text
        await page.get_by_text("The chart as a table").click()
        months = len({day[:7] for day in found["dates"]})
        assert await page.locator(f"{CHART} tbody tr").count() == months
        assert "2012-06-01" in await page.inner_text(f"{CHART} tbody tr >> nth=0")

        before = await colour_of(page)
        drawn = await plots.first.evaluate("canvas => canvas.toDataURL()")
        await page.click("#theme")
        assert await colour_of(page) != before
        await until(page, f"document.querySelector('{CHART} canvas').toDataURL() !== {json.dumps(drawn)}")

        await tab_to(page, SLIDER)
        await page.keyboard.press("ArrowLeft")
        said = str(await page.get_attribute(SLIDER, "aria-valuetext"))
        assert said.startswith("on Thu, 31 May 2012, close $")
        assert await page.locator(f"{CHART} .readout span", has_text="R2").count() == 0
        await page.locator(f"{CHART} .u-over").first.hover(position={"x": 5, "y": 20})
        assert int(await page.input_value(SLIDER)) < 20
        await page.mouse.move(0, 0)
        assert int(await page.input_value(SLIDER)) == 259

        await page.set_viewport_size({"width": 360, "height": 740})
        await until(page, f"document.querySelector('{CHART} canvas').clientWidth < 330")
        assert await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


async def test_entered_metrics_have_no_chart_and_a_failed_one_can_be_tried_again(
    browser: Browser, open_gateway: str
) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.click("#example")
        await ask(page, ticker="SNPS", detail="brief")
        await answered(page)
        assert await page.locator(CHART).count() == 0
        problem = {"title": "Market data unavailable", "status": 503, "code": "market_data_unavailable", "detail": "no"}
        await page.route("**/bars*", lambda route: route.fulfill(status=503, json=problem))
        await choose(page, "subject", "ticker")
        await ask(page, detail="brief")
        await answered(page)
        await page.get_by_text("503 market_data_unavailable").wait_for()
        await page.unroute("**/bars*")
        await page.get_by_role("button", name="Try again").click()
        await page.locator(SLIDER).wait_for()


async def test_tickers_are_suggested_while_they_are_typed(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        options = "[...document.querySelectorAll('#known-tickers option')].map(({ value }) => value).join()"
        await page.locator("#ticker").press_sequentially("ms")
        await until(page, f"{options} === 'MSFT'")
        await page.fill("#ticker", "<b>")
        await until(page, f"{options} === ''")
        typed = [request.url for request in opened.asked if "/tickers" in request.url]
        assert typed[-1].endswith("?prefix=ms&limit=20")
        await page.route(
            "**/v1/market/tickers*",
            lambda route: route.fulfill(json={"market": "yfinance", "listed": False, "tickers": [], "more": False}),
        )
        async with page.expect_response("**/v1/market/tickers*"):
            await page.fill("#ticker", "A")
        await page.fill("#ticker", "AA")
        await page.wait_for_timeout(400)
        assert len([request for request in opened.asked if "/tickers" in request.url]) == len(typed) + 1

"""The console in a browser: the evidence, the stock and the age of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import window
from tests.console.test_asking import answered, ask, choose

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def votes(page: Page, group: str) -> list[int]:
    """Return the votes of the readings in a group's list."""
    shown = await page.locator(f'.evidence [data-group="{group}"] li b').all_inner_texts()
    return [number(text.split()[-1]) for text in shown]


def number(text: str) -> int:
    return int(text.replace("\u2212", "-"))


async def test_the_evidence_is_listed_and_grey_once_the_form_has_another_question(
    browser: Browser, open_gateway: str
) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        async with page.expect_response("**/v1/recommendations") as response:
            await ask(page)
        await answered(page)
        assert (await response.value).ok
        bullish, bearish = [await votes(page, group) for group in ("bullish", "bearish")]
        assert bullish and bearish and min(bullish) > 0 > max(bearish)
        assert number(await page.inner_text(".balance b")) == sum(bullish) + sum(bearish)
        readings = await page.inner_text(".evidence")
        analysis = str(await page.text_content(".analysis"))
        assert "put-call ratio" in readings and "put-call ratio" in analysis
        assert f"Balance {sum(bullish) + sum(bearish):+d}" in analysis
        assert not await page.locator(".analysis").is_visible()
        await page.get_by_text("The analysis as text").click()
        assert await page.locator(".analysis").is_visible()
        grey = page.locator(".outdated .answer")
        assert await grey.count() == 0
        await page.fill("#ticker", "AAPL")
        assert await grey.count() == 1
        assert "has changed" in await page.inner_text("#outdated")
        await page.fill("#ticker", "MSFT")
        assert await grey.count() == 0
        await choose(page, "detail", "brief")
        assert await grey.count() == 1
        await ask(page, ticker="IBM", detail="brief")
        await answered(page)
        assert await grey.count() == 0


async def test_the_stock_is_named_with_its_close(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway, timezone_id="Pacific/Auckland") as opened:
        page = opened.page
        await page.fill("#as_of", "2013-02-15")
        await ask(page, detail="brief")
        await answered(page)
        stock = await page.inner_text(".stock")
        assert "MSFT" in stock and "$28.0" in stock and "close of Fri, 15 Feb 2013, New York" in stock
        await choose(page, "subject", "metrics")
        await page.click("#example")
        await page.get_by_text("34 given").wait_for()
        await page.click("#submit")
        await page.locator(".answer .stock", has_text="SNPS").wait_for()
        assert "as given, close of Fri, 8 Mar 2024" in await page.inner_text(".stock")
        assert "$571.29" in await page.inner_text(".stock")


async def test_an_error_of_both_backends_is_shown_once(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await ask(page, ticker="NO SUCH", backend="both")
        await (
            page.get_by_role("heading", name="mistral, gpt-4")
            .or_(page.get_by_role("heading", name="gpt-4, mistral"))
            .wait_for()
        )
        assert await page.locator(".answer").count() == 1
        assert await page.locator(".problem").count() == 1
        assert await page.locator('[data-field="ticker"] .wrong').count() == 1

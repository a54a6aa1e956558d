"""The console in a browser: questions in the address, and stored answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

from app.contract.fingerprint import EXAMPLE
from tests.console.conftest import gateway_process, window
from tests.console.test_asking import answered, ask, choose, until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION = "#ask?ticker=IBM&as_of=2013-02-15&detail=brief&backend=gpt-4"


@pytest.fixture(scope="module")
def logging_gateway(slow_stand_in: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a gateway with a decision log."""
    store = tmp_path_factory.mktemp("store")
    with gateway_process(slow_stand_in, CONVICTION_STORE_DIR=str(store)) as serving:
        yield f"http://127.0.0.1:{serving.port}"


async def form(page: Page) -> list[str]:
    return [
        await page.input_value("#ticker"),
        await page.input_value("#as_of"),
        *[await page.locator(f'input[name="{name}"]:checked').get_attribute("value") or "" for name in CHOICES],
    ]


CHOICES = ("detail", "backend")


async def test_a_link_fills_the_form_in_and_asks_nothing(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.goto(f"{open_gateway}/{QUESTION}")
        for _ in range(2):
            await until(page, "document.querySelector('input[value=gpt-4]')?.checked")
            assert await form(page) == ["IBM", "2013-02-15", "brief", "gpt-4"]
            await page.reload()
        assert "Nothing asked yet" in await page.inner_text("#answers")
        assert all(request.method in ("GET", "HEAD") for request in opened.asked)
        await page.goto(f"{open_gateway}/#ask?ticker=IBM&as_of=soon&detail=long&backend=llama&metrics=3")
        await page.locator("#linked").wait_for()
        notice = await page.inner_text("#linked")
        for part in ("as_of soon", "detail long", "backend llama", "metrics 3"):
            assert part in notice


async def test_the_question_is_in_the_address_and_its_link_is_copied(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway, permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.page
        await page.fill("#as_of", "2013-02-15")
        await ask(page, ticker="IBM", backend="gpt-4", detail="brief")
        await answered(page)
        assert page.url == f"{open_gateway}/{QUESTION}"
        await page.click('nav a[href="#costs"]')
        await page.click('nav a[href="#ask"]')
        await until(page, "location.hash.includes('IBM')")
        await page.click("#copy")
        await page.get_by_text("Copied.").wait_for()
        assert await page.evaluate("navigator.clipboard.readText()") == page.url


async def test_metrics_are_in_the_address(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.click("#example")
        await page.get_by_text("34 given").wait_for()
        await page.reload()
        await page.get_by_text("34 given").wait_for()
        assert await page.input_value("#ticker") == "SNPS"
        async with page.expect_request("**/v1/recommendations") as request:
            await page.click("#submit")
        question = {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "full", "stream": True}
        assert (await request.value).post_data_json == question


async def test_stored_answers_are_listed_and_opened(browser: Browser, logging_gateway: str) -> None:
    async with window(browser, logging_gateway) as opened:
        page = opened.page
        await page.get_by_role("heading", name="No answers yet").wait_for()
        await ask(page, ticker="IBM", detail="brief")
        await answered(page)
        answer = await page.inner_text(".verdict")
        await page.locator(".decisions").wait_for()
        await ask(page, ticker="MSFT", detail="brief")
        await answered(page)
        await until(page, "document.querySelectorAll('.decisions a').length === 2")
        assert "MSFT" in await page.inner_text(".decisions a >> nth=0")

        await page.click(".decisions a >> nth=1")
        await page.locator(".origin").wait_for()
        assert "received by local" in await page.inner_text(".origin")
        assert await page.inner_text(".verdict") == answer
        top = await page.evaluate("document.querySelector('.origin').getBoundingClientRect().top")
        assert 0 <= top < 900
        await page.reload()
        await page.locator(".origin").wait_for()
        assert "IBM" in await page.inner_text(".stock")
        await page.click(".origin a")
        await until(page, "document.getElementById('ticker').value === 'IBM'")
        assert (await page.input_value("#as_of")).startswith("2013-")

        await page.fill("#history-ticker", "AAPL")
        await page.press("#history-ticker", "Enter")
        await page.get_by_role("heading", name="No answer about AAPL").wait_for()
        await page.get_by_role("button", name="Show all").click()
        await until(page, "document.querySelectorAll('.decisions a').length === 2")

        await asyncio.to_thread(log_answers, logging_gateway, 10)
        while logged(logging_gateway) < 12:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await page.get_by_role("button", name="Show").click()
        await page.click("#older")
        await until(page, "document.querySelectorAll('.decisions a').length === 12")
        assert not await page.locator("#older").is_visible()
        await page.goto(f"{logging_gateway}/#ask?id=rec_{'0' * 32}")
        await page.get_by_text("404 not_found").wait_for()


def log_answers(origin: str, number: int) -> None:
    """Have answers logged, one for each of some days."""
    for day in range(1, number + 1):
        body = json.dumps({"metrics": EXAMPLE.document() | {"as_of": f"2024-02-{day:02}"}, "detail": "brief"}).encode()
        with urlopen(Request(f"{origin}/v1/recommendations", body, {"Content-Type": "application/json"}), timeout=60):
            pass


def logged(origin: str) -> int:
    """Return the number of logged answers: the log stores them in batches."""
    with urlopen(f"{origin}/v1/recommendations", timeout=60) as response:
        return len(json.load(response)["recommendations"])


async def test_a_decision_log_that_is_off_is_named(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        await opened.page.get_by_role("heading", name="The decision log is off").wait_for()
        assert "CONVICTION_DECISION_LOG" in await opened.page.inner_text("#decisions")

"""The console in a browser: keys, themes, a phone's width, and everything by keyboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import gateway_process, window
from tests.console.test_asking import answered, ask, choose

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "ann-key-0123456789abcdef"
PAGES = ("ask", "compare", "costs")


async def test_with_keys_on_the_key_is_requested_once_and_stored_in_the_tab(
    browser: Browser, slow_stand_in: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    file.chmod(0o600)
    with gateway_process(slow_stand_in, CONVICTION_API_KEYS_FILE=str(file)) as serving:
        origin = f"http://127.0.0.1:{serving.port}"
        async with window(browser, origin) as opened:
            page = opened.page
            dialog = page.locator("#key-dialog")
            await dialog.wait_for()
            assert "An API key is required" in await dialog.inner_text()
            await give(page, "schlüssel mit blank")
            assert "without spaces" in await page.inner_text("#key-reason")
            await give(page, "wrong-key-0123456789abcdef")
            await page.get_by_text("does not know the key").wait_for()
            await give(page, KEY)
            await dialog.wait_for(state="hidden")
            await ask(page, detail="brief")
            await answered(page)
            assert await page.evaluate("sessionStorage['conviction.key']") == KEY
            assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
            assert not any(KEY in request.url for request in opened.asked)
            await page.reload()
            await page.locator('input[name="backend"]').first.wait_for(state="attached")
            assert not await dialog.is_visible()
            await page.click("#key")
            await page.click("#key-forget")
            assert await page.evaluate("sessionStorage['conviction.key'] ?? null") is None
            await ask(page, detail="brief")
            await dialog.wait_for()
            await page.click("#key-cancel")
            await page.get_by_text("401 unauthorized").wait_for()
        assert KEY not in serving.log.read_text()


async def test_a_forbidden_request_is_reported(browser: Browser, slow_stand_in: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    file.chmod(0o600)
    with gateway_process(slow_stand_in, CONVICTION_API_KEYS_FILE=str(file)) as serving:
        status, content = serving.ask(
            "POST", "/v1/keys", {"name": "bob", "backends": ["mistral"]}, **{"X-API-Key": KEY}
        )
        assert status == 201
        async with window(browser, f"http://127.0.0.1:{serving.port}") as opened:
            page = opened.page
            await page.locator("#key-dialog").wait_for()
            await give(page, json.loads(content)["key"])
            await ask(page, backend="gpt-4", detail="brief")
            await page.get_by_text("403 forbidden").wait_for()


async def give(page: Page, key: str) -> None:
    await page.fill("#key-input", key)
    await page.press("#key-input", "Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_theme_is_the_system_s_until_another_is_chosen(
    browser: Browser, open_gateway: str, scheme: str
) -> None:
    async def dark(page: Page) -> bool:
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(colour.split("(")[1].split(",")[0]) < 128

    async with window(browser, open_gateway, color_scheme=scheme) as opened:
        page = opened.page
        assert await dark(page) == (scheme == "dark")
        await page.click("#theme")
        assert await dark(page) == (scheme == "light")
        await page.reload()
        assert await dark(page) == (scheme == "light")


async def test_a_phone_s_width_is_enough(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway, viewport={"width": 360, "height": 740}, is_mobile=True) as opened:
        page = opened.page
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        await ask(page, backend="both", detail="full")
        await answered(page, 2)
        assert await page.evaluate(overflow) == 0
        cards = [await card.bounding_box() for card in await page.locator(".answer").all()]
        assert cards[0] and cards[1] and cards[0]["y"] + cards[0]["height"] <= cards[1]["y"]
        await choose(page, "subject", "metrics")
        await page.click("#example")
        await page.click(".paste summary")
        assert await page.evaluate(overflow) == 0
        for name in PAGES:
            await page.click(f'nav a[href="#{name}"]')
            await page.locator(f"#{name}").wait_for()
            assert await page.evaluate(overflow) == 0, name


async def test_a_change_of_the_question_does_not_take_back_a_change_of_page(
    browser: Browser, open_gateway: str
) -> None:
    """The address changes before the event that shows its page, and the question may change between."""
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.locator('input[name="backend"]').first.wait_for(state="attached")
        await page.evaluate(
            """() => {
                location.hash = "#compare";
                document.getElementById("ask-form").dispatchEvent(new Event("change"));
            }"""
        )
        await page.locator("#compare").wait_for()
        assert await page.evaluate("location.hash") == "#compare"


async def test_axe_finds_nothing(browser: Browser, open_gateway: str) -> None:
    """The Ask page in its states, and the Costs page, against the rules of axe-core."""
    axe = pytest.importorskip("axe_playwright_python.async_playwright").Axe()
    async with window(browser, open_gateway, reduced_motion="reduce") as opened:
        page = opened.page

        async def findings() -> list[str]:
            found = await axe.run(page)
            return [
                f"{each['id']}: {node['target']}" for each in found.response["violations"] for node in each["nodes"]
            ]

        await page.locator("#decisions h2").wait_for()
        await ask(page)
        await answered(page)
        await page.locator(".price-chart summary").click()
        assert await findings() == []
        await page.emulate_media(color_scheme="dark")
        assert await findings() == []
        await choose(page, "subject", "metrics")
        await page.locator(".grid").first.wait_for()
        assert await page.locator(".outdated").count() == 1
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await findings() == []
        await page.emulate_media(color_scheme="light")
        assert await findings() == []
        await page.click("#submit")
        await page.locator(".problem").wait_for()
        assert await findings() == []
        await page.click('nav a[href="#costs"]')
        await page.locator("#costs h2").first.wait_for()
        assert await findings() == []


async def test_everything_is_done_by_keyboard(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.locator('input[name="backend"]').first.wait_for(state="attached")
        await page.keyboard.press("Tab")
        assert await focused(page) == "skip"
        assert await page.locator("#skip").bounding_box() is not None
        await page.keyboard.press("Enter")
        assert await focused(page) == "main"
        await tab_to(page, 'input[name="subject"]')
        await tab_to(page, "#ticker")
        await page.keyboard.type("MSFT")
        await tab_to(page, 'input[name="backend"]')
        await page.keyboard.press("ArrowRight")
        assert await page.locator('input[name="backend"][value="gpt-4"]').is_checked()
        await tab_to(page, "#submit")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        await page.keyboard.press("Enter")
        await page.locator(".writing").wait_for()
        assert await focused(page) == "submit"
        await tab_to(page, "#stop")
        await page.keyboard.press("Enter")
        await page.get_by_text("stopped").wait_for()
        for name in PAGES[1:]:
            await page.locator(f'nav a[href="#{name}"]').focus()
            await page.keyboard.press("Enter")
            await page.locator(f"#{name}").wait_for()
            assert await focused(page) == "main"


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.id"))


async def tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no way to {selector} by keyboard")


async def test_every_field_has_a_label_and_every_page_a_heading(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.locator(".grid").first.wait_for()
        unnamed = await page.evaluate(
            "[...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).map(e => e.id)"
        )
        assert unnamed == []
        for name in PAGES:
            await page.click(f'nav a[href="#{name}"]')
            assert await page.locator("h1:visible").count() == 1
            assert (await page.title()).startswith(await page.inner_text("h1:visible"))

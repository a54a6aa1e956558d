"""The console in a browser: asking, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from app.contract.features import METRIC_NAMES
from app.contract.fingerprint import EXAMPLE
from tests.console.conftest import TIMEOUT_S, gateway_process, window

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE = "\u2013"
SHARE = re.compile(r"\d+\.\d%")
HOSTILE = '<img src=x onerror="document.title=`taken`"><script>document.title="taken"</script>'
HOSTILE_SOURCE = {"provider": HOSTILE, "simulated": [HOSTILE], "age_s": 1}


async def ask(page: Page, ticker: str = "MSFT", backend: str = "mistral", detail: str = "full") -> None:
    await page.fill("#ticker", ticker)
    await choose(page, "backend", backend)
    await choose(page, "detail", detail)
    await page.click("#submit")


async def choose(page: Page, name: str, value: str) -> None:
    await page.locator(f'label:has(input[name="{name}"][value="{value}"])').click()


async def answered(page: Page, number: int = 1) -> None:
    await page.locator(".answer .action").nth(number - 1).wait_for()
    await until(page, "!document.querySelector('[aria-busy]')")


async def until(page: Page, expression: str) -> None:
    """Playwright's own way to wait for an expression is by eval, which the policy forbids."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await page.evaluate(expression):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_decision_and_analysis_are_seen_while_they_are_written(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        assert "Nothing asked yet" in await page.inner_text("#answers")
        await ask(page)
        await until(page, "document.querySelector('.writing .analysis')?.textContent.length > 20")
        early = await page.inner_text(".analysis")
        decision = await page.inner_text(".verdict")
        assert await page.locator(".probabilities").count() == 0
        await answered(page)
        assert await page.inner_text(".verdict") == decision
        whole = str(await page.text_content(".analysis"))
        assert whole.startswith(early.strip()) and len(whole) > len(early)
        assert await page.inner_text(".action") in ("buy", "sell", "hold", "Buy", "Sell", "Hold")
        said = await page.locator(".steps").get_attribute("aria-label")
        assert said is not None and re.fullmatch(r"conviction ([1-9]|10) of 10", said)
        assert await page.locator(".steps .on").count() == int(said.split()[1])
        shares = SHARE.findall(await page.inner_text(".probabilities"))
        assert len(shares) == 3 and abs(sum(float(share[:-1]) for share in shares) - 100) < 0.2
        assert "given the metrics" in await page.inner_text(".probabilities")
        figures = await page.inner_text(".facts.wide")
        for name in ("First token", "Per token", "Tokens in, out", "Cost"):
            assert name in figures
        assert NONE not in figures
        text = await page.inner_text(".answer")
        assert "A stand-in, not a model" in text
        assert "Simulated, not market data: options" in text
        assert "Sample data" in text and "trading sessions old" in text
        assert "not investment advice" in text
        assert await page.locator("#stand-in").is_visible()
        assert "mistral says" in await page.inner_text("#announcer")


async def test_a_stand_in_is_named_before_anything_is_asked(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        await opened.page.locator("#stand-in").wait_for()
        assert "gpt-4 and mistral" in await opened.page.inner_text("#stand-in")


async def test_both_are_written_side_by_side(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        await ask(opened.page, backend="both")
        await answered(opened.page, 2)
        boxes = [await card.bounding_box() for card in await opened.page.locator(".answer").all()]
        assert boxes[0] and boxes[1] and boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
        assert [await name.inner_text() for name in await opened.page.locator(".answer h2").all()] == [
            "mistral",
            "gpt-4",
        ]
        assert "gpt-4 and mistral" in await opened.page.inner_text("#stand-in")


async def test_a_pair_is_stored_on_request(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "backend", "both")
        await page.check("#keep")
        await ask(page, backend="both", detail="brief")
        await answered(page, 2)
        assert "the report includes it" in await page.inner_text("#kept")
        assert "given the metrics" in await page.inner_text(".probabilities >> nth=0")


async def test_a_cascade_shows_which_backend_answered_and_why(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        await ask(opened.page, backend="cascade", detail="brief")
        await answered(opened.page)
        assert await opened.page.inner_text(".answer h2") in ("mistral", "gpt-4")
        assert "Cascade: the first backend answered" in await opened.page.inner_text(".notices")


async def test_the_form_has_every_metric_and_the_example_fills_it(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.locator(".grid").first.wait_for()
        assert await page.locator("#fields label code").all_inner_texts() == list(METRIC_NAMES)
        field = page.locator('[data-field="metrics.technicals.RSI_14"]')
        assert await field.locator("label").inner_text() == "Relative strength index RSI_14"
        assert "14 bars" in await field.locator("small").inner_text()
        assert [legend.lower() for legend in await page.locator("#fields legend").all_inner_texts()] == [
            "options",
            "technicals",
        ]
        await page.click("#example")
        await choose(page, "detail", "brief")
        async with page.expect_request("**/v1/recommendations") as request:
            await page.click("#submit")
        assert (await request.value).post_data_json == {
            "ticker": "SNPS",
            "metrics": EXAMPLE.document(),
            "detail": "brief",
            "stream": True,
        }
        await answered(page)


async def test_json_is_pasted_into_the_form(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.locator(".grid").first.wait_for()
        await page.click(".paste summary")
        for text, said in (
            ("{", "This is not a request"),
            ("[1]", "not a JSON object"),
            ('{"RSI": 3}', "No such metric: RSI"),
        ):
            await page.fill("#json", text)
            await page.click("#fill")
            assert said in await page.inner_text("#pasted")
        await page.fill("#json", json.dumps({"price": 12.5, "technicals": {"RSI_14": 28.0, "BBP_20_2.0": 0.4}}))
        await page.click("#fill")
        assert await page.inner_text("#pasted") == ""
        assert await page.input_value('[id="metric-technicals.BBP_20_2.0"]') == "0.4"
        assert "3 given" in await page.inner_text("#given")


async def test_an_invalid_metric_is_shown_at_its_field(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await choose(page, "subject", "metrics")
        await page.click("#example")
        await page.fill('[id="metric-technicals.RSI_14"]', "1o0")
        await page.click("#submit")
        problem = page.locator(".answer .problem")
        await problem.wait_for()
        assert "422 invalid_metrics" in await problem.inner_text()
        field = page.locator('[data-field="metrics.technicals.RSI_14"]')
        assert "must be a finite number" in await field.inner_text()
        assert await field.locator("input").get_attribute("aria-invalid") == "true"
        assert await page.locator("main").get_by_text("must be a finite number").count() == 1


async def test_html_in_a_ticker_is_refused_and_shown_as_text(browser: Browser, open_gateway: str) -> None:
    async with window(browser, open_gateway) as opened:
        await ask(opened.page, ticker=HOSTILE)
        problem = opened.page.locator(".answer .problem")
        await problem.wait_for()
        assert "422 invalid_request" in await problem.inner_text()
        assert await opened.page.locator("main img, main script").count() == 0
        assert await opened.page.title() != "taken"


async def test_html_in_an_answer_is_text(browser: Browser, open_gateway: str) -> None:
    """Whatever a model writes, or a gateway says, becomes text."""
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await page.route(
            "**/v1/recommendations",
            lambda route: route.fulfill(body=hostile_events(), content_type="text/event-stream"),
        )
        await ask(page)
        await answered(page)
        assert await page.inner_text(".analysis") == HOSTILE
        assert HOSTILE in await page.inner_text(".answer header")
        assert await page.locator("main img, main script").count() == 0
        assert await page.title() != "taken"


def hostile_events() -> bytes:
    hostile: dict[str, Any] = {
        **{"id": HOSTILE, "created_at": HOSTILE, "ticker": HOSTILE, "as_of": None, "action": "buy", "conviction": 7},
        **{"probabilities": None, "probabilities_given": None, "analysis": HOSTILE, "backend": "mistral"},
        **{"model": HOSTILE, "source": HOSTILE, "metrics": {"price": 1.0}, "missing": [HOSTILE], "stand_in": False},
        "usage": dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"), 1),
        "timing": dict.fromkeys(("total_ms", "ttft_ms", "ms_per_token", "tokens_per_second", "gateway_ms"), 1.0),
        "cost": {"usd": "0.1", "usd_per_1k_tokens": "0.1", "basis": "capacity"},
        "metrics_source": HOSTILE_SOURCE,
        **{"experiment": None, "fallback_from": HOSTILE, "cascade": None, "disclaimer": HOSTILE},
    }
    events = [("analysis", {"delta": HOSTILE}), ("recommendation", hostile)]
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events).encode()


@pytest.mark.parametrize(
    ("sessions", "notice"),
    [(0, "The market data source is unavailable"), (5, "has no newer close: these figures are 5 trading sessions old")],
)
async def test_stale_metrics_are_explained(browser: Browser, open_gateway: str, sessions: int, notice: str) -> None:
    source = {"provider": "yfinance", "simulated": [], "age_s": 1, "stale": True, "as_of_age_sessions": sessions}
    async with window(browser, open_gateway) as opened:
        page = opened.page
        answer = hostile_events().replace(json.dumps(HOSTILE_SOURCE).encode(), json.dumps(source).encode())
        await page.route(
            "**/v1/recommendations", lambda route: route.fulfill(body=answer, content_type="text/event-stream")
        )
        await ask(page)
        await answered(page)
        assert notice in await page.inner_text(".notices")


async def test_stop_ends_the_call(browser: Browser, open_gateway: str, slow_stand_in: str) -> None:
    def abandoned() -> int:
        with urlopen(f"{slow_stand_in}/stand-in/tally", timeout=5) as response:
            return int(json.load(response)["abandoned"])

    before = abandoned()
    async with window(browser, open_gateway) as opened:
        page = opened.page
        await ask(page, ticker="AAPL")
        await page.locator(".writing").wait_for()
        await page.click("#stop")
        assert "stopped" in await page.inner_text(".verdict")
        assert not await page.locator("#stop").is_visible()
        for _ in range(200):
            if abandoned() > before:
                break
            await asyncio.sleep(0.05)
        assert abandoned() == before + 1
        await ask(page, detail="brief")
        await answered(page)


async def test_a_limit_is_explained_and_counted_down(browser: Browser, slow_stand_in: str) -> None:
    with gateway_process(slow_stand_in, CONVICTION_KEY_REQUESTS_PER_MINUTE="1") as serving:
        async with window(browser, f"http://127.0.0.1:{serving.port}") as opened:
            page = opened.page
            await ask(page, detail="brief")
            await answered(page)
            await ask(page, detail="brief")
            problem = page.locator(".answer .problem")
            await problem.wait_for()
            text = await problem.inner_text()
            assert "Rate limited" in text and "429 rate_limited" in text
            assert re.search(r"Request [0-9a-f]{32}", text)
            again = problem.get_by_role("button")
            assert await again.is_disabled()
            first = await again.inner_text()
            assert re.fullmatch(r"Try again in \d+ s", first)
            await until(page, f"document.querySelector('.problem button').textContent !== '{first}'")


async def test_if_one_backend_fails_the_other_s_answer_is_shown(browser: Browser, slow_stand_in: str) -> None:
    with gateway_process(slow_stand_in, OPENAI_API_KEY="wrong") as serving:
        async with window(browser, f"http://127.0.0.1:{serving.port}") as opened:
            page = opened.page
            await page.get_by_text("gpt-4 is not ready").wait_for()
            await ask(page, backend="both", detail="brief")
            await page.locator('[data-backend="gpt-4"] .problem').wait_for()
            await page.locator('[data-backend="mistral"] .action').wait_for()


async def test_an_unreachable_gateway_is_reported(browser: Browser, slow_stand_in: str) -> None:
    with gateway_process(slow_stand_in) as serving:
        async with window(browser, f"http://127.0.0.1:{serving.port}") as opened:
            page = opened.page
            await page.locator('input[name="backend"]').first.wait_for(state="attached")
            serving.process.terminate()
            serving.process.wait(TIMEOUT_S)
            await ask(page)
            await page.get_by_role("heading", name="The gateway cannot be reached").wait_for()
            assert await page.get_by_role("button", name="Try again").is_enabled()

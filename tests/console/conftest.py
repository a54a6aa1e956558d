"""The gateway around doubles for what is served, and, for what is seen, a real one with a real browser before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from app.stand_in import create_stand_in
from tests.conftest import STAND_IN_KEY, served
from tests.test_main import Serving

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Request

SECONDS_PER_TOKEN = 0.004
"""So that an analysis of some 250 tokens is seen while it is written."""
ARGUMENTS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 120.0
"""For each step: a busy machine is no failure."""


@contextmanager
def gateway_process(stand_in: str, **settings: str) -> Iterator[Serving]:
    """A gateway as it is served, with the stand-in as both backends."""
    with TemporaryDirectory(prefix="conviction-console-") as folder:
        serving = Serving(
            Path(folder),
            **{
                "CONVICTION_VLLM_URLS": f"{stand_in}/v1",
                "OPENAI_BASE_URL": f"{stand_in}/v1",
                "OPENAI_API_KEY": STAND_IN_KEY,
                "CONVICTION_MARKET_OPTIONS": "simulated",
                "CONVICTION_HOSTING_USD_PER_HOUR": "0.10",
                "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "100000",
                "CONVICTION_CACHE_S": "0",
                "CONVICTION_DRAIN_S": "0.1",
                "CONVICTION_BACKEND_TIMEOUT_S": "20",
            }
            | settings,
        )
        with serving.up(TIMEOUT_S, TIMEOUT_S):
            yield serving


@pytest.fixture(scope="session")
def slow_stand_in() -> Iterator[str]:
    with served(create_stand_in(key=STAND_IN_KEY, seconds_per_token=SECONDS_PER_TOKEN)) as origin:
        yield origin


@pytest.fixture(scope="session")
def open_gateway(slow_stand_in: str) -> Iterator[str]:
    """The origin of a gateway without keys and without a decision log."""
    with gateway_process(slow_stand_in, CONVICTION_DECISION_LOG="off") as serving:
        yield f"http://127.0.0.1:{serving.port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium; the tests are skipped, and say so, where there is none."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: no browser tests")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser tests: none of {', '.join(PROGRAMS)} is installed (Debian: apt-get install chromium)")
    async with playwright.async_playwright() as driver:
        root = os.geteuid() == 0
        browser = await driver.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), chromium_sandbox=not root, timeout=1000 * TIMEOUT_S
        )
        yield browser
        await browser.close()


class Window:
    """A page, and all that it did that a page of the console must not do."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.complaints: list[str] = []
        self.asked: list[Request] = []
        page.set_default_timeout(1000 * TIMEOUT_S)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", lambda line: self._said(line.type, line.text))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.asked.append(request))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):  # the browser's own note
            self.complaints.append(text)

    def check(self) -> None:
        assert self.complaints == []
        assert [request.url for request in self.asked if not request.url.startswith(f"{self.origin}/")] == []


@asynccontextmanager
async def window(browser: Browser, origin: str, **context: Any) -> AsyncIterator[Window]:
    """Open the console in a separate browser profile; fail if a page error, or a request to another origin, occurs."""
    profile: BrowserContext = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | context)
    try:
        opened = Window(await profile.new_page(), origin)
        await opened.page.goto(f"{origin}/")
        yield opened
        opened.check()
    finally:
        await profile.close()

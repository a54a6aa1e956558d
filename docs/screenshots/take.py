"""Takes the pictures beside this file from a gateway that runs and has pairs to show (`make demo`).

python docs/screenshots/take.py [URL] [TICKER]
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PATIENCE_MS = 180_000
COLOURS = 256
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


def main(url: str = "http://127.0.0.1:8080", ticker: str = "MSFT") -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), chromium_sandbox=False, args=["--disable-background-networking"]
        )
        for name, scheme, size in (("light", "light", DESKTOP), ("dark", "dark", DESKTOP), ("phone", "light", PHONE)):
            take(browser, url, ticker, name, scheme, size)
        browser.close()


def take(browser: Browser, url: str, ticker: str, name: str, scheme: str, size: dict[str, int]) -> None:
    """The three pages in one look. Both backends are asked first: who is a stand-in is known from then on."""
    page = browser.new_context(viewport=size, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.locator('label:has(input[value="both"])').click()
    page.fill("#ticker", ticker)
    page.click("#submit")
    page.locator(".answer .action").nth(1).wait_for()
    page.locator("[aria-busy]").wait_for(state="detached")
    page.locator(".price-chart .readout").nth(1).wait_for()
    save(page, f"ask-{name}")
    for other, there in (("compare", ".sides"), ("costs", ".cost-figures")):
        page.click(f'nav a[href="#{other}"]')
        page.locator(there).first.wait_for()
        page.wait_for_timeout(1000)
        save(page, f"{other}-{name}")


def save(page: Page, name: str) -> None:
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    picture = Image.open(BytesIO(page.screenshot(full_page=True)))
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        Path(__file__).parent / f"{name}.png", optimize=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

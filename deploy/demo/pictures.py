"""Pictures of the dashboards, drawn from their JSON and from a Prometheus: Grafana itself takes no part."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from deploy.demo.dashboards import Json, dashboard
from deploy.demo.panels import view
from deploy.demo.prometheus import Prometheus
from deploy.demo.series import Window

ORIGIN = "http://pictures.invalid"
"""Where the page seems to be; every request of the browser is answered from these files."""
UPLOT = Path(__file__).parents[2] / "app" / "console"
FILES = {
    "/": Path(__file__).with_name("pictures.html"),
    "/uPlot.esm.js": UPLOT / "uPlot.esm.js",
    "/uPlot.min.css": UPLOT / "uPlot.min.css",
}
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
SIZE = {"width": 1216, "height": 400}
COLOURS = 256
TIMEOUT_MS = 180_000.0
POINTS = 120
RATE_S = 15
"""`$__rate_interval`: some scrapes, and short beside the pictures' time span."""


def seen(name: str, prometheus: Prometheus, window: Window, note: str) -> Json:
    """Return all that a dashboard's picture shows. Raises `UnknownPart`."""
    filled_in = {"$__rate_interval": f"{RATE_S}s", "$__range": f"{window.end - window.begin}s"}
    document = dashboard(name, filled_in)
    own = [each["name"] for each in document["templating"]["list"] if each["type"] == "query"]
    begin, end = (datetime.fromtimestamp(second, UTC) for second in (window.begin, window.end))
    return {
        "title": document["title"],
        "description": document["description"],
        "choices": [f"{variable}: All" for variable in own] + [f"{begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"],
        "panels": [view(panel, prometheus, window) for panel in document["panels"]],
        "note": f"Not Grafana: deploy/demo/pictures.py drew dashboards/{name}.json with the data of a real Prometheus, "
        f"rates over {RATE_S} s. {note}",
    }


def take(
    names: Iterable[str], prometheus: Prometheus, begin: float, end: float, note: str, folder: Path
) -> Iterator[Path]:
    """Write each dashboard's picture of a time span. Raises `UnknownPart`, and `RuntimeError` without Chromium."""
    from playwright.sync_api import sync_playwright  # slow to import, and only pictures need it

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise RuntimeError(f"none of {', '.join(PROGRAMS)} is installed")
    folder.mkdir(parents=True, exist_ok=True)
    window = Window(int(begin), int(end), max(1, int(end - begin) // POINTS))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), chromium_sandbox=os.geteuid() != 0, timeout=TIMEOUT_MS
        )
        page = browser.new_context(viewport=SIZE, timezone_id="UTC").new_page()  # type: ignore[arg-type]
        page.set_default_timeout(TIMEOUT_MS)
        page.route("**/*", lambda route: route.fulfill(path=FILES[urlsplit(route.request.url).path]))
        for name in names:
            page.goto(f"{ORIGIN}/")
            page.evaluate("shown => draw(shown)", seen(name, prometheus, window, note))
            path = folder / f"dashboard-{name}.png"
            picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
            yield path
        browser.close()

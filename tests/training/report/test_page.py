from __future__ import annotations

import re
from html.parser import HTMLParser

from training.markdown import bullets, table
from training.report.page import Picture, html, markdown

BLOCKS = (
    "# Title",
    "<i>a</i> & b",
    bullets(["first", "second"]),
    table(["", "x|y"], [["<row>", 1], ["two", 2]]),
    Picture("a.png", "a <picture>", b"\x89PNG"),
)


class Reader(HTMLParser):
    """Which tags are open at the end, which occurred, what was fetched, and the words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_markdown_has_every_part() -> None:
    assert markdown(BLOCKS) == (
        "# Title\n\n<i>a</i> & b\n\n- first\n- second\n\n|  | x\\|y |\n| --- | --- |\n| <row> | 1 |\n| two | 2 |"
        "\n\n![a <picture>](a.png)\n"
    )


def test_html_is_whole_and_escaped() -> None:
    reader = Reader()
    reader.feed(html("A & B", BLOCKS))
    assert reader.open == []
    assert {"h1", "ul", "table", "img"} <= reader.tags and "i" not in reader.tags
    for text in ("A & B", "<i>a</i> & b", "x|y", "<row>", "a <picture>"):
        assert text in reader.words


def test_html_holds_its_pictures_and_fetches_nothing() -> None:
    page, reader = html("t", BLOCKS), Reader()
    reader.feed(page)
    assert reader.links == ["data:image/png;base64,iVBORw=="]
    assert not re.search(r"https?:|@import|url\(|<script", page)
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page

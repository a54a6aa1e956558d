"""Rendering of the report: Markdown with picture files, and one self-contained HTML page of the same Markdown."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from training.artifacts import write_bytes, write_text

PAGE = Template((Path(__file__).parent / "page.html").read_text())


@dataclass(frozen=True)
class Picture:
    """A PNG with file name and caption."""

    name: str
    caption: str
    png: bytes

    def __str__(self) -> str:
        return f"![{self.caption}]({self.name})"


Block = str | Picture
"""A block of Markdown, or a picture on its own."""


def markdown(blocks: Sequence[Block]) -> str:
    """Return the report as Markdown; pictures are links to files beside it."""
    return "\n\n".join(map(str, blocks)) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """Return the report as one HTML page without scripts or external resources; HTML in the blocks is shown as text."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.add_render_rule("image", _embedded)
    pictures = {block.name: block.png for block in blocks if isinstance(block, Picture)}
    return PAGE.substitute(title=escape(title), body=renderer.render(markdown(blocks), {"pictures": pictures}))


def write(out: Path, name: str, title: str, blocks: Sequence[Block]) -> Path:
    """Write NAME.md, its pictures and NAME.html into `out`; return the path of the HTML page."""
    out.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Picture):
            write_bytes(out / block.name, block.png)
    write_text(out / f"{name}.md", markdown(blocks))
    write_text(out / f"{name}.html", html(title, blocks))
    return out / f"{name}.html"


def _embedded(
    _: RendererHTML, tokens: Sequence[Token], index: int, __: Mapping[str, Any], env: Mapping[str, Any]
) -> str:
    png, caption = env["pictures"][tokens[index].attrs["src"]], escape(tokens[index].content)
    return f'<img src="data:image/png;base64,{b64encode(png).decode()}" alt=""><span>{caption}</span>'

"""Rendering of report blocks to Markdown with picture files, and to one self-contained HTML page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG with file name and caption."""

    name: str
    caption: str
    png: bytes


Block = Heading | Text | Points | Table | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """Return the report as Markdown; pictures are links to files beside it."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """Return the report as one HTML page without scripts or external resources."""
    return PAGE.substitute(title=escape(title), body="\n".join(_html(block) for block in blocks))


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Points(texts):
            return "\n".join(f"- {text}" for text in texts)
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        case Picture(name, caption, _):
            return f"![{caption}]({name})"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(text):
            return f"<p>{escape(text)}</p>"
        case Points(texts):
            return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
        case Table(head, rows):
            top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
            body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
            return f'<div class="table"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        case Picture(_, caption, png):
            source = f"data:image/png;base64,{b64encode(png).decode()}"
            text = escape(caption)
            return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _cells(row: Sequence[str]) -> str:
    first, *rest = map(escape, row)
    return f'<th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}'


PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --ink: #1b2330; --soft: #5b6675; --line: #dde2e8; --page: #fbfbfa; --card: #fff; --accent: #1d5fbf; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #2f3845; --page: #12161c; --card: #1a2029; --accent: #7db3ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .8rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 2px solid var(--accent); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .4rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
li { margin: .35rem 0; }
li::marker { color: var(--accent); }
.table { overflow-x: auto; margin: .8rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; min-width: 8rem; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
figure { margin: 1rem 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .5rem; padding: .4rem; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .35rem; max-width: 46rem; }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure, .table { break-inside: avoid; } }
</style>
</head>
<body>
$body
</body>
</html>
""")

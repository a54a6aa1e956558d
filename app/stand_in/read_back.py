"""A prompt of the contract, read back into what it shows."""

from __future__ import annotations

import re

from app.contract.prompt import ANSWER, LINES, TASK, Detail, Line

FIGURE = r"(?:price [+-](?:\d+\.\d|inf)%|-?\d+(?:\.\d+)?[KM]*)"
READING = r"(?: ([a-zA-Z][a-zA-Z0-9 ]*))?"
TICKER = re.compile(r"ticker [A-Z0-9][A-Z0-9.\-]{0,9}")

PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (
        label,
        key or label,
        re.compile(re.escape(label) + "".join(f"(?: ({re.escape(prefix)}{FIGURE}))?" for prefix in figures) + READING),
    )
    for label, figures, key in sorted(LINES, key=lambda line: -len(line[0]))
)
"""A line's label, its key in `evidence` and what it looks like: groups for the figures, then the reading.

Longest label first: a brief prompt's "IV skew even" is not the reading "skew even" of IV.
"""


class NotAPrompt(ValueError):
    """The text is not what the contract renders."""


def fixed_part(detail: Detail) -> str:
    """What stands before the stock in every prompt, and servers can cache."""
    return f"{TASK}{ANSWER[detail]}\n\n"


def read_back(content: str) -> tuple[Detail, dict[str, Line]]:
    """What is asked for, and the evidence by the key of its reading. Raises `NotAPrompt`."""
    detail = next((detail for detail in ANSWER if content.startswith(fixed_part(detail))), None)
    if detail is None:
        raise NotAPrompt("the prompt does not begin as the contract's do")
    shown = content.removeprefix(fixed_part(detail)).split("\n")
    if TICKER.fullmatch(shown[0]):
        shown = shown[1:]
    if not shown:
        raise NotAPrompt("the prompt shows nothing of the stock")
    evidence = dict(_line(text) for text in shown)
    for line in evidence.values():
        if not line.figures if detail == "full" else line.figures and line.reading:
            raise NotAPrompt(f"a {detail} prompt does not show {str(line)!r} so")
    if len(evidence) < len(shown):
        raise NotAPrompt("the prompt shows an indicator twice")
    return detail, evidence


def _line(text: str) -> tuple[str, Line]:
    for label, key, pattern in PATTERNS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        *figures, reading = match.groups()
        given = tuple(figure for figure in figures if figure)
        if given or reading:
            return key, Line(label, given, reading or "")
    raise NotAPrompt(f"the prompt shows no indicator in {text[:80]!r}")

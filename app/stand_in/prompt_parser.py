"""Parser of the contract's prompts."""

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
"""Each line's label, its key in `evidence` and its pattern, with groups for the figures and then the reading.

The longest label is first: a brief prompt's "IV skew even" is not the reading "skew even" of IV.
"""


class NotAPrompt(ValueError):
    """The text is not a prompt that the contract renders."""


def prompt_prefix(detail: Detail) -> str:
    """Return the part that all prompts share, which servers can cache."""
    return f"{TASK}{ANSWER[detail]}\n\n"


def parse_prompt(content: str) -> tuple[Detail, dict[str, Line]]:
    """Return the detail and the evidence by key, as `contract.prompt.evidence` has it. Raises `NotAPrompt`."""
    detail = next((detail for detail in ANSWER if content.startswith(prompt_prefix(detail))), None)
    if detail is None:
        raise NotAPrompt("the prompt does not start with the contract's text")
    rows = content.removeprefix(prompt_prefix(detail)).split("\n")
    if TICKER.fullmatch(rows[-1]):
        rows.pop()
    if not rows:
        raise NotAPrompt("the prompt contains no indicator")
    evidence = dict(_line(text) for text in rows)
    for line in evidence.values():
        if not line.figures if detail == "full" else line.figures and line.reading:
            raise NotAPrompt(f"{str(line)!r} is not a line of a {detail} prompt")
    if len(evidence) < len(rows):
        raise NotAPrompt("the prompt contains an indicator twice")
    return detail, evidence


def _line(text: str) -> tuple[str, Line]:
    for label, key, pattern in PATTERNS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        *figures, reading = match.groups()
        present = tuple(figure for figure in figures if figure)
        if present or reading:
            return key, Line(label, present, reading or "")
    raise NotAPrompt(f"{text[:80]!r} is not an indicator")

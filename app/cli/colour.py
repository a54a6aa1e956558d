"""Colours of lines, on terminals only."""

from __future__ import annotations

from typing import NamedTuple, TextIO

CODES: dict[str | None, str] = {"buy": "1;32", "sell": "1;31", "hold": "1;33", "error": "31", "faint": "2"}
"""Parameters of the terminal's escape sequence by style."""


class Line(NamedTuple):
    """Text, which may have several lines, and its style. A style without a colour leaves the text as it is."""

    text: str
    style: str | None = None


def painted(text: str, style: str | None, stream: TextIO) -> str:
    """Return the text in its colour if the stream is a terminal that shows colours."""
    code = CODES.get(style)
    return f"\033[{code}m{text}\033[0m" if code and is_coloured(stream) else text


def is_coloured(stream: TextIO) -> bool:
    if not stream.isatty():
        return False
    from app.settings.client import TerminalSettings
    from app.settings.loading import load

    return load(TerminalSettings).coloured

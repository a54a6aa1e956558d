"""An analysis on a terminal while the model writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.cli import client, streams
from app.cli.recommendation_text import verdict
from app.cli.table import WIDTH


def watch(path: str, body: client.Json, headers: Mapping[str, str]) -> client.Json:
    """Print verdict and analysis as they arrive; return the recommendation. Raises as `client.call` does."""
    text, decided = WrappedText(), False
    try:
        for name, document in client.events(path, {**body, "stream": True}, headers):
            if name == "decision":
                decided = True
                streams.write(verdict(document), "")
            elif name == "analysis":
                streams.write(text.add(document["delta"]), end="")
            elif name == "recommendation":
                break
            else:
                raise client.Refused(document)
        else:
            raise client.Unreachable("the gateway closed the connection before the answer was complete")
    finally:
        if text.started:
            streams.write(text.end())
    if not decided:  # a model may write its analysis first
        streams.write("", verdict(document))
    return document


class WrappedText:
    """Breaks text that arrives in pieces into lines, between words."""

    def __init__(self) -> None:
        self._word, self._column = "", 0

    @property
    def started(self) -> bool:
        return bool(self._column or self._word)

    def add(self, piece: str) -> str:
        """Return the words that the piece completes, with what separates them from the words before."""
        *words, self._word = re.split(r"\s+", self._word + piece)
        return "".join(self._place(word) for word in words if word)

    def end(self) -> str:
        """Return the last word."""
        word, self._word = self._word, ""
        return self._place(word) if word else ""

    def _place(self, word: str) -> str:
        if self._column and self._column + 1 + len(word) > WIDTH:
            self._column = len(word)
            return f"\n{word}"
        separated = f" {word}" if self._column else word
        self._column += len(separated)
        return separated

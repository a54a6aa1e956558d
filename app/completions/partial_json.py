"""The analysis of an answer while its JSON is still being written."""

from __future__ import annotations

import jiter


class PartialJson:
    """Takes a full answer's text as it comes, and gives the part of its analysis that is new."""

    def __init__(self) -> None:
        self._text = ""
        self._told = 0

    def add(self, text: str) -> str:
        """The characters of the analysis that the text adds; none where it adds none, or is not an answer's."""
        self._text += text
        analysis = self._analysis()
        new = analysis[self._told :]
        self._told += len(new)
        return new

    def _analysis(self) -> str:
        # Parsing 1,500 characters anew takes a microsecond or two: less than a token's share of anything else.
        try:
            answer = jiter.from_json(self._text.encode(), partial_mode="trailing-strings")
        except ValueError:
            return ""
        analysis = answer.get("analysis") if isinstance(answer, dict) else None
        return analysis if isinstance(analysis, str) else ""

"""`conviction recommend --batch FILE`: many questions, answered a line each, with their progress shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli import client
from app.errors import InvalidRequest

MOST = 1000
"""Questions that a gateway takes at a time; a longer file is asked in parts."""
BAR = 30

Json = client.Json


def recommend_batch(file: str, route: Mapping[str, str], *, brief: bool) -> int:
    """Write each answer to standard output as it comes, as a line of JSON; 1 if any question failed, else 0.

    Raises `InvalidRequest` for a file that holds no questions, and as `client.lines` does.
    """
    questions, failed = read(file), 0
    progress = Progress(len(questions))
    try:
        for line in _answers(questions, route, "brief" if brief else "full"):
            failed += "problem" in line
            progress.clear()
            print(json.dumps(line), flush=True)
            progress.show(failed)
    finally:
        progress.end()
    return 1 if failed else 0


def _answers(questions: Sequence[Any], route: Mapping[str, str], detail: str) -> Iterator[Json]:
    """A line a question, as they are answered; `Unreachable` where some never are."""
    for start in range(0, len(questions), MOST):
        part = questions[start : start + MOST]
        summed_up = False
        for line in client.lines("/v1/recommendations/batch", {"items": part, "detail": detail}, route):
            if "index" in line:
                yield {**line, "index": start + line["index"]}
            summed_up = "summary" in line
        if not summed_up:
            raise client.Unreachable("the gateway broke off before all was answered")


def read(file: str) -> Sequence[Any]:
    """The questions in a file, - being standard input: an array of bodies, or a body or a ticker a line."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}") from None
    questions = _json(text, file) if text.lstrip().startswith("[") else list(_lines(text, file))
    if not questions:
        raise InvalidRequest(f"{file} holds no questions")
    return list(questions)


def _lines(text: str, file: str) -> Iterator[Any]:
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line:
            yield _json(line, f"{file}, line {number},") if line.startswith("{") else {"ticker": line}


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"{where} is no JSON: {error}") from None


class Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, items: int) -> None:
        self._items, self._done = items, 0
        self._shown = sys.stderr.isatty()

    def clear(self) -> None:
        """Make room for a line."""
        self._write("\r\033[K")

    def show(self, failed: int) -> None:
        """Show that one more is done."""
        self._done += 1
        full = BAR * self._done // self._items
        told = f"{self._done}/{self._items}" + (f", {failed} failed" if failed else "")
        self._write(f"\r[{'#' * full}{'.' * (BAR - full)}] {told}")

    def end(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(text)
            sys.stderr.flush()

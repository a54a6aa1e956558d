"""Each tutorial works from its first command to its last, and shows what its commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs import tutorial

PAGES = sorted((tutorial.ROOT / "docs" / "tutorials").glob("*.md"))
VARYING = re.compile(r"\b[0-9a-f]{12,}\b|\brec_\w+|[\d.,]*\d")
"""Ids and numbers: times, ages and prices of an hour differ from run to run."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    for step, output in tutorial.run(page, tmp_path):
        if step.language == "json":
            assert difference(json.loads(step.shown or ""), json.loads(output)) is None, output
        elif step.shown is not None:
            printed = "\n".join(map(normal, output.splitlines()))
            for line in filter(None, map(str.strip, step.shown.splitlines())):
                shown = f"{page.name} shows\n{line}\nfor\n{step.commands}\nwhich prints\n{output}"
                assert re.search(pattern(line), printed), shown


def pattern(line: str) -> str:
    """Return an expression for a line of a page, in which … matches any text."""
    return ".*".join(re.escape(normal(part)) for part in line.split("…")).replace(r"\ .*", r".*")


def normal(line: str) -> str:
    """Return the line with one mark for each id and number, and single spaces."""
    return re.sub(r"[-+]?#", "#", re.sub(r"\s+", " ", VARYING.sub("#", line))).strip()


def difference(shown: Any, found: Any, path: str = "answer") -> str | None:
    """Return the first place at which an answer lacks what the page shows, or None."""
    match shown, found:
        case dict(), dict():
            missing = next((f"{path}.{name} is missing" for name in shown if name not in found), None)
            return missing or _first(difference(shown[name], found[name], f"{path}.{name}") for name in shown)
        case list(), list():
            named = [each for each in shown if each != "…"]
            return _first(
                None if any(difference(each, candidate) is None for candidate in found) else f"{path} lacks {each}"
                for each in named
            )
        case str(), str():
            return None if re.fullmatch(pattern(shown), normal(found)) else f"{path} is {found!r}, shown as {shown!r}"
        case _:
            return None if type(shown) is type(found) else f"{path} is {found!r}, shown as {shown!r}"


def _first(found: Any) -> str | None:
    return next((each for each in found if each is not None), None)


def test_a_difference_is_found() -> None:
    assert difference({"action": "buy"}, {"action": "sell"}) == "answer.action is 'sell', shown as 'buy'"
    assert difference({"price": 1.5}, {"price": 2.5}) is None
    assert difference({"price": 1.5}, {}) == "answer.price is missing"
    assert difference(["a", "…"], ["b", "a"]) is None
    assert difference(["a", "…"], ["b"]) == "answer lacks a"

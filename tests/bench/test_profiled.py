from __future__ import annotations

from collections import Counter

import pytest

from bench.gateway.profiled import STANDARD, by_package, package_of

CHAT = ("/srv/app/api/chat.py", 10, "answer")
AIOHTTP = ("/venv/lib/python3.11/site-packages/aiohttp/client.py", 1, "_request")
DUMPS = (f"/usr/lib/{STANDARD}/json/__init__.py", 5, "dumps")
LEN = ("~", 0, "<built-in method builtins.len>")
LOOP = ("/usr/lib/python3.11/asyncio/runners.py", 86, "run")


@pytest.mark.parametrize(
    ("function", "package"),
    [
        (CHAT, "app.api"),
        (("/srv/app/recommend.py", 1, "ask"), "app.recommend"),
        (AIOHTTP, "aiohttp"),
        (("/venv/lib/python3.11/site-packages/typing_extensions.py", 1, "f"), "typing_extensions"),
        (DUMPS, "json"),
        (LEN, "built in"),
    ],
)
def test_a_function_belongs_to_a_package(function: tuple[str, int, str], package: str) -> None:
    assert package_of(function[0]) == package


def test_a_built_in_function_counts_for_its_callers_and_waiting_for_none() -> None:
    stats = {
        CHAT: (1, 1, 0.5, 2.0, {LOOP: (1, 1, 0.5, 2.0)}),
        AIOHTTP: (2, 2, 0.25, 0.25, {CHAT: (2, 2, 0.25, 0.25)}),
        LEN: (9, 9, 1.75, 1.75, {CHAT: (4, 4, 0.5, 0.5), AIOHTTP: (4, 4, 0.25, 0.25), LOOP: (1, 1, 1.0, 1.0)}),
        LOOP: (1, 1, 5.0, 8.0, {}),
    }
    assert by_package(stats) == Counter({"app.api": 1.0, "aiohttp": 0.5})

from __future__ import annotations

import asyncio
from io import StringIO

import pytest

from app.supervisor.screen import ERASE, Screen


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


async def test_a_terminal_shows_one_line_of_progress_that_is_rewritten() -> None:
    terminal = Terminal()
    screen = Screen(terminal)
    async with screen.progress("vLLM is loading", "its log is vllm.log"):
        await asyncio.sleep(0.01)
        screen.print("a line between")
    assert terminal.getvalue() == (
        f"{ERASE}vLLM is loading, 0 s, its log is vllm.log{ERASE}a line between\nvLLM is loading: done in 0 s\n"
    )


async def test_a_file_gets_complete_lines() -> None:
    file = StringIO()
    async with Screen(file).progress("vLLM is loading"):
        await asyncio.sleep(0.01)
    assert file.getvalue() == "vLLM is loading, 0 s\nvLLM is loading: done in 0 s\n"


async def test_a_failed_step_is_not_reported_as_done() -> None:
    terminal = Terminal()
    with pytest.raises(ValueError, match="no"):
        async with Screen(terminal).progress("vLLM is loading"):
            await asyncio.sleep(0.01)
            raise ValueError("no")
    assert terminal.getvalue() == f"{ERASE}vLLM is loading, 0 s{ERASE}"

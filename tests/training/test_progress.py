from __future__ import annotations

import io

import pytest

from training import progress as module
from training.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_whole_lines_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as the command line sets it for libraries
    monkeypatch.setattr(module, "LOG_INTERVAL_S", 0)
    assert list(progress("label", ["a", "b", "c", "d"])) == ["a", "b", "c", "d"]
    log = capsys.readouterr().err
    assert "\r" not in log
    lines = log.splitlines()
    assert all(line.startswith("label: ") and line.endswith(" left") for line in lines)
    assert any(line.startswith("label: 2/4, 00:00 elapsed, 00:00 left") for line in lines)
    assert lines[-1].startswith("label: 4/4")


def test_a_log_is_not_filled(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("batch", total=1000) as bar:
        for _ in range(1000):
            bar.update()
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_terminal_gets_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress("evaluate", total=2) as bar:
        bar.update(2)
    assert "\r" in terminal.getvalue() and terminal.getvalue().count("\n") == 1

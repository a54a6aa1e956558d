"""`make serve` as the benchmark runs it, in front of Makefiles of a few lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.fresh.checkout import Checkout
from bench.fresh.serving import ServeFailed, serving
from bench.gateway.programs import children
from tests.supervisor.observing import gone

PROGRAM = """import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit({status}))
print("Serving a model")
print("Conviction is ready at http://127.0.0.1:1 (documentation: ...).", flush=True)
time.sleep(600)
"""


def checkout(folder: Path, recipe: str) -> Checkout:
    (folder / "Makefile").write_text(f"serve:\n\t@{recipe}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return Checkout(folder, environment)


def program(folder: Path, status: int) -> Checkout:
    (folder / "program.py").write_text(PROGRAM.format(status=status))
    return checkout(folder, f"exec {sys.executable} program.py")


def test_it_is_interrupted_once_it_was_ready(tmp_path: Path) -> None:
    with serving(program(tmp_path, 0)) as running:
        assert running.url == "http://127.0.0.1:1"
        assert [line.text for line in running.lines[:-1]] == ["Serving a model"]
        family = children(running._make.pid)
        assert family
    assert all(map(gone, family))


def test_a_status_other_than_0_after_sigint_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ServeFailed, match="status 2 after SIGINT"), serving(program(tmp_path, 3)):
        pass


def test_a_start_that_fails_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    failing = checkout(tmp_path, "echo the disk is full >&2; exit 1")
    why = r"(?s)status 2 before it was ready; .*    the disk is full\n"
    with pytest.raises(ServeFailed, match=why), serving(failing):
        pass


def test_nothing_outlives_an_error_meanwhile(tmp_path: Path) -> None:
    family: list[int] = []
    with pytest.raises(ZeroDivisionError), serving(program(tmp_path, 0)) as running:
        family = children(running._make.pid)
        raise ZeroDivisionError
    assert family
    assert all(map(gone, family))

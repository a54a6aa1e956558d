from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

from app.stores import parent_death
from app.supervisor.process import Process, Program
from tests.supervisor.observing import eventually, gone, output

Make = Callable[[str], Program]

FOREVER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER
WITH_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


async def test_its_exit_status_and_output_are_known(program: Make) -> None:
    toy = program("print('a word'); raise SystemExit(7)")
    process = Process.start(toy)
    assert await process.ended() == 7
    assert await process.ended() == 7
    assert await output(toy) == "a word"
    await process.stop()


async def test_a_command_that_does_not_exist_ends_with_an_error(program: Make) -> None:
    toy = replace(program(""), command=("/nonexistent/program",))
    assert await Process.start(toy).ended() == 1
    assert "/nonexistent/program" in await output(toy) or "No such file" in await output(toy)


async def test_it_is_sent_sigterm(program: Make) -> None:
    toy = program(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    process = Process.start(toy)
    await output(toy)
    await process.stop()
    assert await process.ended() == 0
    assert (await output(toy)).endswith("bye")


async def test_it_is_killed_if_it_ignores_sigterm(program: Make) -> None:
    toy = program(STUBBORN)
    process = Process.start(toy)
    await output(toy)
    before = monotonic()
    await process.stop(timeout_s=0.2)
    assert await process.ended() == -signal.SIGKILL
    assert 0.2 <= monotonic() - before < 5


async def test_its_children_end_with_it(program: Make) -> None:
    toy = program(WITH_A_CHILD)
    process = Process.start(toy)
    child = int(await output(toy))
    assert await process.ended() == 0
    await eventually(lambda: gone(child), 5)


async def test_it_has_its_own_process_group(program: Make) -> None:
    process = Process.start(program(FOREVER))
    try:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    finally:
        await process.stop()


async def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = f"""
import sys, time
from pathlib import Path
from app.supervisor.process import Process, Program
toy = Program("toy", (sys.executable, "-c", {FOREVER!r}), {{}}, Path({str(tmp_path / "log")!r}))
print(Process.start(toy).pid, flush=True)
time.sleep(60)
"""
    popen = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=subprocess.PIPE)
    assert popen.stdout
    child = int(await popen.stdout.readline())
    await output(Program("toy", (), {}, tmp_path / "log"))
    popen.kill()
    await popen.wait()
    await eventually(lambda: gone(child), 5)


def test_a_command_whose_parent_has_died_does_not_start(tmp_path: Path) -> None:
    another = "1" if os.getppid() != 1 else "2"
    command = [sys.executable, "-I", parent_death.__file__, another, "touch", str(tmp_path / "ran")]
    assert subprocess.call(command) == 1
    assert not (tmp_path / "ran").exists()

"""Running one check, with its own log file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from deploy.checks.listed import CANNOT, PYTHON, Check

ROOT = Path(__file__).parents[2]
LIMIT_S = 3600
State = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check. `note` is the reason of a failure or a skip, or the number of tests."""

    check: Check
    state: State
    seconds: float
    note: str
    log: Path


def run(check: Check, folder: Path, root: Path = ROOT) -> Outcome:
    """Run a check; write its log to the folder."""
    log, started = folder / f"{check.name.replace(' ', '-')}.log", time.monotonic()
    if check.needs and not (root / check.needs).exists():
        return Outcome(check, "skipped", 0, f"{check.needs} does not exist: `make check` builds it", log)
    state, note = _tests(check, log, root) if check.tests else _command(check, log, root)
    return Outcome(check, state, time.monotonic() - started, note, log)


def _command(check: Check, log: Path, root: Path) -> tuple[State, str]:
    status = _logged([sys.executable if word == PYTHON else word for word in check.command], log, root)
    if status == CANNOT:
        return "skipped", _last(log)
    return ("ok", "") if status == 0 else ("failed", f"exit status {status}: {_last(log)}")


def _tests(check: Check, log: Path, root: Path) -> tuple[State, str]:
    """Run the tests by pytest. A pattern without a matching file is a failure."""
    paths = {pattern: sorted(root.glob(pattern)) for pattern in check.tests}
    missing = [pattern for pattern, found in paths.items() if not found]
    if missing:
        log.write_text("")
        return "failed", f"no file matches {', '.join(missing)}"
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    chosen = ["-m", "not slow" if check.quick else ""]
    names = [str(path.relative_to(root)) for found in paths.values() for path in found]
    status = _logged([sys.executable, "-m", "pytest", *chosen, f"--junitxml={report}", *names], log, root)
    if not report.exists():
        return "failed", f"exit status {status}: {_last(log)}"
    return _counted(report, status)


def _counted(report: Path, status: int) -> tuple[State, str]:
    """Summarize pytest's report. A report without any test is a failure, unless all were skipped."""
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest has just written it
    reasons = sorted(set(_reasons(cases)))
    left_out = f"{sum(1 for _ in _reasons(cases))} of {len(cases)} skipped: {'; '.join(reasons)}" if reasons else ""
    if status == 0 and len(cases) == sum(1 for _ in _reasons(cases)):
        return "skipped", left_out
    if status == 0:
        return "ok", left_out or f"{len(cases)} tests"
    wrong = [
        case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    return "failed", ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "") or f"{status=}"


def _reasons(cases: list[ElementTree.Element]) -> Iterator[str]:
    for case in cases:
        skipped = case.find("skipped")
        if skipped is not None:
            yield str(skipped.get("message"))


def _logged(command: list[str], log: Path, root: Path) -> int:
    """Run a command; return its exit status, 124 after a timeout."""
    with log.open("wb") as file:
        try:
            return subprocess.run(
                command, cwd=root, env=_environment(root), stdout=file, stderr=subprocess.STDOUT, timeout=LIMIT_S
            ).returncode
        except subprocess.TimeoutExpired:
            file.write(f"\nstopped: the limit is {LIMIT_S} s\n".encode())
            return 124
        except OSError as error:
            file.write(f"\n{command[0]}: {error.strerror}\n".encode())
            return 127


def _environment(root: Path) -> Mapping[str, str]:
    """Return the environment with the tools that `make` installed on PATH."""
    tools = [str(root / ".envs/tools/usr/bin"), str(Path(sys.executable).parent)]
    return {**os.environ, "PATH": os.pathsep.join([*tools, os.environ.get("PATH", os.defpath)])}


def _last(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"

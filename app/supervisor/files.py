"""The run folder: a log a program, the last few kept."""

from __future__ import annotations

from pathlib import Path

KEPT = 3
"""Logs of earlier lives."""


def fresh_log(folder: Path, name: str) -> Path:
    """The path of an empty log; earlier ones move on to NAME.log.1 and so on, the oldest out."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    for age in range(KEPT, 0, -1):
        younger = log.with_name(f"{log.name}.{age - 1}") if age > 1 else log
        if younger.exists():
            younger.replace(log.with_name(f"{log.name}.{age}"))
    return log

"""Log files of the run folder, rotated at each start of a program."""

from __future__ import annotations

from pathlib import Path

KEPT = 3
"""Rotated logs per program."""


def rotate_log(folder: Path, name: str) -> Path:
    """Return the path of a new log; earlier ones are renamed to NAME.log.1 and so on, and the oldest is dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    for age in range(KEPT, 0, -1):
        younger = log.with_name(f"{log.name}.{age - 1}") if age > 1 else log
        if younger.exists():
            younger.replace(log.with_name(f"{log.name}.{age}"))
    return log

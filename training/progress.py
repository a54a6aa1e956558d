"""Progress of a stage on standard error: a bar on a terminal, a line every 30 s in a log, both with the time left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 30
LOG_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {elapsed} elapsed, {remaining} left"


class _Lines:
    """A stream that turns each rewriting of a bar into a line of standard error."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        pass


def progress(label: str, items: Sequence[Any] | None = None, total: int | None = None) -> tqdm:
    """Return a bar over `items`, or one of `total` steps that `update` advances.

    Shown in a log too, for which the command line disables the bars of libraries.
    """
    if sys.stderr.isatty():
        return tqdm(items, label, total, file=sys.stderr)
    log = {"mininterval": LOG_INTERVAL_S, "miniters": 1, "bar_format": LOG_FORMAT}
    return tqdm(items, label, total, file=_Lines(), disable=False, **log)

"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

WIDTH = 88
"""Characters per line of running text."""


def table(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Return rows as aligned columns; with `numbers`, all but the first column are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align: Callable[[str, int], str] = str.rjust if numbers else str.ljust

    def line(cells: Iterable[str]) -> str:
        (first, width), *rest = zip(cells, widths, strict=True)
        return "  ".join((first.ljust(width), *(align(cell, width) for cell, width in rest))).rstrip()

    return "\n".join(map(line, rows))

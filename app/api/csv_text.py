"""RFC 4180 CSV whose texts no spreadsheet runs as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a formula may begin with (OWASP, CSV Injection)."""


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as lines. A text that a spreadsheet could run begins with an apostrophe; None is empty."""
    text = io.StringIO()
    csv.writer(text).writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell

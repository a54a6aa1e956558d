"""Stored pairs as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.cli.table import table

Json = dict[str, Any]
MISSING = "-"


def pair_table(pairs: Sequence[Json]) -> str:
    """Return stored pairs as a table: each side's action, conviction and probability, or the code of its error."""
    head = ("at", "ticker", "detail", *(pairs[0]["sides"]), "agree")
    rows = [
        (
            f"{pair['at'][:10]} {pair['at'][11:19]}",
            pair["ticker"] or MISSING,
            pair["detail"],
            *map(_kept_side, pair["sides"].values()),
            {True: "yes", False: "no", None: MISSING}[pair["agree"]],
        )
        for pair in pairs
    ]
    return table([head, *rows])


def _kept_side(side: Json) -> str:
    if side["action"] is None:
        return str(side["failure"])
    given = side["probabilities"]
    return f"{side['action']} {side['conviction']}" + (f" ({given[side['action']]:.0%})" if given else "")

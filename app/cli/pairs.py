"""`conviction pairs`: the stored pairs of a running gateway, for example all disagreements."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from app.cli import client, pair_filters, streams
from app.cli.client import Json
from app.cli.pairs_text import pair_table
from app.cli.rows import add_output

PATH = "/v1/comparisons"
PAGE = 500


def run(argv: Sequence[str]) -> int:
    """Print the newest selected pairs. Raises as `client.call` does."""
    options = parser().parse_args(argv)
    if options.limit < 1:
        parser().error("--limit must be at least 1")
    if options.output == "csv":
        for line in client.text_lines(f"{PATH}?{pair_filters.query(options)}", "text/csv"):
            streams.write(line)
        return 0
    pairs = []
    for pair in _pairs(pair_filters.query(options, limit=min(options.limit, PAGE))):
        if options.output == "json":
            streams.write(json.dumps(pair))
        pairs.append(pair)
        if len(pairs) == options.limit:
            break
    if options.output == "table":
        streams.write(pair_table(pairs) if pairs else "No stored pairs are selected.")
    return 0


def parser() -> argparse.ArgumentParser:
    top = pair_filters.parser("pairs", "List stored pairs of a running gateway, the newest first.")
    top.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many pairs (%(default)s)")
    described = "table; JSON has a line per pair; CSV has all selected pairs, whatever --limit"
    add_output(top, ("table", "json", "csv"), "table", described)
    return top


def _pairs(query: str) -> Iterator[Json]:
    """Yield the selected pairs, page by page."""
    cursor = ""
    while True:
        page = client.call("GET", f"{PATH}?{query}{cursor}")
        yield from page["pairs"]
        if page["next"] is None:
            return
        cursor = f"&cursor={page['next']}"

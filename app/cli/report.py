"""`conviction report`: agreement, speed and cost over the stored pairs of a running gateway, together and in groups."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from app.cli import client, comparison_text, pair_filters, streams
from app.cli.rows import add_output


def run(argv: Sequence[str]) -> int:
    """Print the report of the selected pairs. Raises as `client.call` does."""
    options = parser().parse_args(argv)
    query = pair_filters.query(options, group_by=options.group_by, half_width=options.half_width)
    document = client.call("GET", f"/v1/comparisons/report?{query}")
    streams.write(json.dumps(document, indent=2) if options.output == "json" else comparison_text.report(document))
    return 0


def parser() -> argparse.ArgumentParser:
    top = pair_filters.parser("report", "Report on the stored pairs of a running gateway.")
    top.add_argument(
        "--group-by",
        metavar="A,B",
        help="a table by detail (the default), day, ticker, sector, mistral_model, mistral_conviction, …",
    )
    top.add_argument("--half-width", type=float, metavar="SHARE", help="target precision of the agreement estimate")
    add_output(top, ("text", "json"), "text")
    return top

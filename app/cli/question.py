"""The arguments that `recommend` and `compare` share, and the request body that they make."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.cli import streams
from app.cli.client import Json
from app.cli.main import EPILOG
from app.errors import InvalidRequest


def parser(command: str, purpose: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"conviction {command}",
        description=purpose,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ticker", nargs="?", metavar="TICKER", help="the stock whose metrics the gateway looks up")
    parser.add_argument("--metrics", metavar="FILE", help="a JSON file with the metrics; - reads standard input")
    parser.add_argument("--batch", metavar="FILE", help="many: a JSON array of bodies, or a body or ticker per line")
    parser.add_argument("--as-of", metavar="DATE", help="with a ticker and no metrics: use the close of this day")
    parser.add_argument("--brief", action="store_true", help="action and conviction only")
    parser.add_argument("--blind", action="store_true", help="omit the ticker from the prompt")
    parser.add_argument("--json", action="store_true", help="print the gateway's answer unchanged")
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; raise `InvalidRequest` unless they name one question or one batch."""
    options = parser.parse_args(argv)
    options.detail = "brief" if options.brief else "full"
    if options.ticker is None and options.metrics is None and options.batch is None:
        raise InvalidRequest("give a TICKER, --metrics FILE, or --batch FILE")
    given = (options.ticker, options.metrics, options.as_of, options.blind)
    if options.batch is not None and given != (None, None, None, False):
        raise InvalidRequest(
            "--batch FILE excludes TICKER, --metrics, --as-of and --blind: the file contains the questions"
        )
    return options


def body(options: argparse.Namespace) -> Json:
    """Return the request body of one question. Raises `InvalidRequest` if the file of metrics is no JSON object."""
    metrics = None if options.metrics is None else _parse_json(streams.read(options.metrics), options.metrics)
    if not isinstance(metrics, dict | None):
        raise InvalidRequest(f"{options.metrics} contains no JSON object")
    fields = {"ticker": options.ticker, "as_of": options.as_of, "metrics": metrics, "detail": options.detail}
    if options.blind:
        fields["blind"] = True
    return {name: value for name, value in fields.items() if value is not None}


def read_batch(file: str) -> Sequence[Any]:
    """Return the questions of a file (- is standard input). Raises `InvalidRequest` if it contains none."""
    text = streams.read(file)
    questions = _parse_json(text, file) if text.lstrip().startswith("[") else list(_lines(text, file))
    if not questions:
        raise InvalidRequest(f"{file} contains no questions")
    return list(questions)


def _lines(text: str, file: str) -> Iterator[Any]:
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if line:
            yield _parse_json(line, f"{file}, line {number},") if line.startswith("{") else {"ticker": line}


def _parse_json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{source} is not JSON: {error}") from None

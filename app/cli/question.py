"""The arguments that `recommend` and `compare` share, and the request bodies that they make."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.cli import streams
from app.cli.client import Json
from app.cli.main import EPILOG
from app.cli.rows import add_output
from app.errors import InvalidRequest


def parser(command: str, purpose: str, default_help: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"conviction {command}",
        description=purpose,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tickers", nargs="*", metavar="TICKER", help="stocks whose metrics the gateway looks up")
    parser.add_argument("--metrics", metavar="FILE", help="a JSON file with the metrics; - reads standard input")
    parser.add_argument("--batch", metavar="FILE", help="many: a JSON array of bodies, or a body or ticker per line")
    parser.add_argument("--as-of", metavar="DATE", help="with a ticker and no metrics: use the close of this day")
    parser.add_argument("--brief", action="store_true", help="action and conviction only")
    parser.add_argument("--blind", action="store_true", help="omit the ticker from the prompt")
    add_output(parser, ("text", "table", "json", "csv"), None, default_help)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; raise `InvalidRequest` unless they name questions of one kind."""
    options = parser.parse_intermixed_args(argv)
    options.detail = "brief" if options.brief else "full"
    if not options.tickers and options.metrics is None and options.batch is None:
        raise InvalidRequest("give a TICKER, --metrics FILE, or --batch FILE")
    if len(options.tickers) > 1 and options.metrics is not None:
        raise InvalidRequest("--metrics FILE describes one stock: give at most one TICKER")
    if options.batch is not None and (options.tickers or options.metrics or options.as_of or options.blind):
        raise InvalidRequest(
            "--batch FILE excludes TICKER, --metrics, --as-of and --blind: the file contains the questions"
        )
    return options


def questions(options: argparse.Namespace) -> Sequence[Any]:
    """Return the request bodies. Raises `InvalidRequest` if a file does not contain what its option states."""
    if options.batch is not None:
        return read_batch(options.batch)
    return [_body(options, ticker) for ticker in options.tickers or (None,)]


def _body(options: argparse.Namespace, ticker: str | None) -> Json:
    metrics = None if options.metrics is None else _parse_json(streams.read(options.metrics), options.metrics)
    if not isinstance(metrics, dict | None):
        raise InvalidRequest(f"{options.metrics} contains no JSON object")
    fields = {"ticker": ticker, "as_of": options.as_of, "metrics": metrics, "detail": options.detail}
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

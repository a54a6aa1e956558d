"""The arguments that select stored pairs, and the query that they make."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlencode

from app.cli.main import EPILOG

FILTERS = (
    ("--from", "TIME", "pairs from this date or time on"),
    ("--to", "TIME", "pairs before this date or time"),
    ("--tickers", "A,B", "these stocks only"),
    ("--detail", "DETAIL", "full or brief"),
    ("--origin", "ORIGIN", "comparison or shadow"),
    ("--blind", "BOOL", "true: only questions without the ticker in the prompt; false: only those with it"),
    ("--agree", "BOOL", "false: only disagreements; true: only equal actions"),
    ("--sides", "A,B", "mistral,gpt-4 (the default), candidate,mistral or candidate,gpt-4"),
    ("--mistral-model", "ID", "only answers of this model"),
    ("--gpt4-model", "ID", "only answers of this model"),
    ("--candidate-model", "ID", "only answers of this model"),
    ("--prompt-version", "VERSION", "only answers to this version of the prompt"),
)
"""Option, value and help. The gateway checks the values."""


def parser(command: str, purpose: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog=f"conviction {command}",
        description=purpose,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, value, purpose_of_option in FILTERS:
        top.add_argument(option, metavar=value, help=purpose_of_option)
    return top


def query(options: argparse.Namespace, **more: Any) -> str:
    """Return the query string of the given filters and parameters."""
    names = [option.removeprefix("--").replace("-", "_") for option, _, _ in FILTERS]
    given = {**{name: getattr(options, name) for name in names}, **more}
    return urlencode({name: value for name, value in given.items() if value is not None})

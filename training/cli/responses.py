"""`python -m training responses`: answers of several backends to the case study's prompt."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from training.cli.stage import Stage


def _responses_options(parser: argparse.ArgumentParser) -> None:
    def several(name: str, metavar: str, text: str) -> None:
        parser.add_argument(name, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")

    several("--backend", "NAME=URL[#MODEL]", "a gateway or a server to ask")
    several("--raw", "NAME=URL[#MODEL]", "a server to ask for free text, without a schema")
    several("--key", "NAME=VARIABLE", "the environment variable that holds a backend's API key")
    several("--parameters", "NAME=SIZE", "number of parameters of a backend's model, for display")
    parser.add_argument("--out", type=Path, help="Markdown file; by default standard output")


def _responses(arguments: argparse.Namespace) -> None:
    from training.artifacts import write_text
    from training.evaluation.responses import backends, responses, table

    queried = backends(arguments.backend, arguments.raw, arguments.parameters, arguments.key, os.environ)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    document = "\n".join(table(asyncio.run(responses(queried)))) + "\n"
    if arguments.out is None:
        print(document, end="")
    else:
        write_text(arguments.out, document)


STAGES = (
    Stage("responses", _responses, "answers to the SNPS prompt, side by side", _responses_options, reads_run=False),
)

"""`conviction completion`: a shell's completion script, made from the parsers of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import shtab

from app.cli import streams
from app.cli.main import parser as command_parser

SHELLS = ("bash", "zsh", "fish")

EPILOG = """bash: conviction completion bash > ~/.local/share/bash-completion/completions/conviction
zsh:  conviction completion zsh > DIRECTORY/_conviction, in a directory of $fpath
fish: conviction completion fish > ~/.config/fish/completions/conviction.fish"""


def run(argv: Sequence[str]) -> int:
    """Print the script. It completes commands, options and their values without a call of `conviction`."""
    streams.write(script(parser().parse_args(argv).shell))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction completion",
        description="Print a completion script for a shell.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def script(shell: str) -> str:
    """Return the shell's script."""
    top = command_parser(complete=True)
    for action in _actions(top):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
    text: str = shtab.complete(top, shell)
    return text.rstrip()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            subparsers: dict[str, Any] = action.choices
            for each in subparsers.values():
                yield from _actions(each)

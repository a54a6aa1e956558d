"""The command `conviction`. A subcommand's module is imported when it runs, so that `--help` is fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from app import __version__
from app.errors import ConvictionError

COMMANDS = {
    "up": ("app.supervisor.command", "start everything: model server, store and gateway"),
    "serve": ("app.cli.serve", "start the gateway alone, configured by the environment"),
    "stand-in": ("app.stand_in.command", "start an OpenAI-style server for tests and demonstrations"),
    "keys": ("app.cli.keys", "issue, list and revoke the keys of a running gateway"),
    "outcomes": ("app.cli.outcomes", "compare the advice of stored pairs with later prices"),
    "weights": ("app.cli.weights", "check the hashes of the served model's files"),
    "recommend": ("app.cli.recommend", "ask a running gateway (CONVICTION_URL, CONVICTION_API_KEY)"),
    "compare": ("app.cli.compare", "ask both backends of a running gateway; with --batch, print a report"),
    "pairs": ("app.cli.pairs", "list the stored pairs of a running gateway, such as disagreements"),
    "report": ("app.cli.report", "report on the stored pairs of a running gateway, together and in groups"),
}
"""Each subcommand's module, whose `run` takes the arguments and returns the exit status, and its help."""

EPILOG = """exit status: 0 success; 1 the gateway refused or failed; 2 wrong usage or settings;
3 the gateway cannot be reached; 4 standard output cannot be written: the answer is on standard error"""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    from app.cli import streams

    streams.prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        arguments = [parser().parse_args(arguments).command]  # exits after --help, --version and errors
    module, _ = COMMANDS[arguments[0]]
    try:
        return int(import_module(module).run(arguments[1:]))
    except ConvictionError as error:
        from app.cli.client import exit_status

        streams.note(f"conviction: {error.detail}")
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="conviction",
        description="Buy, sell or hold, and how sure.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"conviction {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    return top


if __name__ == "__main__":
    sys.exit(main())

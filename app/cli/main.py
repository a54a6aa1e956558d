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
    "replay": ("app.cli.replay", "ask the questions of a running gateway's decision log again"),
    "mcp": ("app.cli.mcp", "serve a running gateway's tools to a language model (MCP)"),
    "completion": ("app.cli.completion", "print a completion script for bash, zsh or fish"),
    "pairs": ("app.cli.pairs", "list the stored pairs of a running gateway, such as disagreements"),
    "report": ("app.cli.report", "report on the stored pairs of a running gateway, together and in groups"),
}
"""Each subcommand's module and its help. The module's `run` takes the arguments and returns the exit status; its
`parser` returns the parser of the arguments."""

EPILOG = """exit status: 0 success; 1 the gateway refused or failed; 2 wrong usage or settings;
3 the gateway cannot be reached; 4 standard output cannot be written: the answer is on standard error;
141 the reader of standard output closed it"""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells report it."""

BROKEN_PIPE = 141
"""The exit status after SIGPIPE, as shells report it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    from app.cli import streams
    from app.cli.colour import Line

    streams.prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] not in COMMANDS and not arguments[0].startswith("-"):
        parser().error(unknown_command(arguments[0]))
    if not arguments or arguments[0] not in COMMANDS:
        arguments = [parser().parse_args(arguments).command]  # exits after --help, --version and errors
    module, _ = COMMANDS[arguments[0]]
    try:
        return int(import_module(module).run(arguments[1:]))
    except streams.ReaderLeft:
        return BROKEN_PIPE
    except ConvictionError as error:
        from app.cli.client import exit_status

        streams.note(Line(f"conviction: {error.detail}", "error"))
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def parser(*, complete: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the command; with `complete`, each subcommand has the parser of its module."""
    top = argparse.ArgumentParser(
        prog="conviction",
        description="Buy, sell or hold, and how sure.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"conviction {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
        if complete:
            commands.choices[name] = import_module(module).parser()
    return top


def unknown_command(name: str) -> str:
    """Return the error of a mistyped command, with the commands of similar names."""
    from difflib import get_close_matches

    near = " or ".join(get_close_matches(name, COMMANDS))
    return f"there is no command {name}" + (f"; did you mean {near}?" if near else f": choose {', '.join(COMMANDS)}")


if __name__ == "__main__":
    sys.exit(main())

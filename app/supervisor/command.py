"""The arguments of `conviction up`, its signals and its exit status."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from app.contract.manifest import UnusableModel
from app.errors import InvalidSettings
from app.supervisor.failures import CannotUse, Failure
from app.supervisor.screen import Screen
from app.supervisor.up import Plan, make_plan, up

EPILOG = """exit status: 0 stopped by a signal, or that of COMMAND; 1 a program does not start; 2 the settings, a
port or the model cannot be used; 3 a new build of the model does not answer as it was published"""


def run(argv: Sequence[str]) -> int:
    """Run everything until SIGTERM, Ctrl-C or the end of COMMAND; return the exit status."""
    arguments = list(argv)
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[separator + 1 :]
    options = parser().parse_args(arguments[:separator])
    screen = Screen(sys.stderr if command else sys.stdout)  # standard output is the command's
    try:
        plan = make_plan(screen, stand_in_for=options.stand_in, persistent=not command)
        return asyncio.run(run_until_signal(plan, command, screen))
    except (InvalidSettings, UnusableModel, Failure) as error:
        print(f"conviction up: {error}", file=sys.stderr)
        return error.status if isinstance(error, Failure) else CannotUse.status


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction up",
        usage="conviction up [-h] [--stand-in [BACKEND]] [-- COMMAND ...]",
        description="Start a model server, the store and the gateway, and restart each when it exits. The store is "
        "kept in .run/ for the next start. With COMMAND, run it once all are ready (with CONVICTION_URL set), stop "
        "when it ends, and keep nothing.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--stand-in",
        nargs="?",
        const="both",
        choices=("both", "gpt-4"),
        metavar="BACKEND",
        help="answer with the rule-based analyst instead of models, marked as such; gpt-4: instead of that one only",
    )
    return parser


async def run_until_signal(plan: Plan, command: Sequence[str], screen: Screen) -> int:
    """Run the plan; return 0 if SIGTERM or SIGINT ends it. Further signals are ignored while it stops."""
    work, signalled = asyncio.create_task(up(plan, command, screen)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    stopping = asyncio.create_task(signalled.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if work.done():
        return work.result()
    screen.print("stopping")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return 0

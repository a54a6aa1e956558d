"""The arguments of `conviction up`, its signals and its exit status."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from app.contract.manifest import UnusableModel
from app.errors import InvalidSettings
from app.supervisor.failures import Failure
from app.supervisor.screen import Screen
from app.supervisor.up import Plan, make_plan, up

EPILOG = """exit status: 0 stopped as told, or that of COMMAND; 1 a program would not start; 2 the settings, a
port or the model cannot be used; 3 a new build of the model does not answer as it was published"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything until SIGTERM, Ctrl-C or the end of the command; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    own, command = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    options = parser().parse_args(own)
    screen = Screen(sys.stderr if command else sys.stdout)  # the command's own output stays clean
    try:
        plan = make_plan(screen, stands_for=options.stand_in, lasting=not command)
        return asyncio.run(until_told(plan, command, screen))
    except InvalidSettings as error:
        return _give_up(error.detail, 2)
    except UnusableModel as error:
        return _give_up(str(error), 2)
    except Failure as error:
        return _give_up(str(error), error.status)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conviction up",
        usage="conviction up [-h] [--stand-in [BACKEND]] [-- COMMAND ...]",
        description="Start and watch everything: a model server, the store and the gateway. What the "
        "store holds is kept in .run/ for the next start. With a COMMAND, run that once all are ready (CONVICTION_URL "
        "tells it where), stop when it ends, and keep nothing.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--stand-in",
        nargs="?",
        const="both",
        choices=("both", "gpt-4"),
        metavar="BACKEND",
        help="no model: the rule-based analyst answers, and says so; gpt-4: in that backend's place alone",
    )
    return parser


async def until_told(plan: Plan, command: Sequence[str], screen: Screen) -> int:
    """0 where a signal ended it. A second signal changes nothing: what is stopping goes on stopping."""
    work, told = asyncio.create_task(up(plan, command, screen)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if work.done():
        return work.result()
    screen.say("stopping")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return 0


def _give_up(why: str, status: int) -> int:
    print(f"conviction up: {why}", file=sys.stderr)
    return status

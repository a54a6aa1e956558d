"""python -m deploy.loadtest [prove | soak | simulate]; see docs/how-to/test-many-gateways.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def main() -> int:
    """Return 0 where every check passed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    proof = commands.add_parser("prove", help="three gateways are one (what is done without a COMMAND)")
    for each in (parser, proof):
        each.add_argument("--vllm", action="store_true", help="two real vLLM servers, not two stand-ins")
        each.add_argument(
            "--only", action="append", metavar="CHECK", help="a check by its name's beginning; repeatable"
        )
        each.add_argument("--within", type=float, default=10.0, metavar="S", help="to recover in (default: 10)")
        each.add_argument("--folder", type=Path, help="where logs and store are kept (default: nowhere)")
    soak = commands.add_parser("soak", help="the same deployment under an even load, and its memory")
    soak.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    soak.add_argument("--per-second", type=float, default=20.0, help="questions, all gateways together (default: 20)")
    soak.add_argument("--out", type=Path, default=Path("soak.csv"), help="memory of every gateway (default: soak.csv)")
    simulation = commands.add_parser("simulate", help="1 to 100 model servers: waiting, scaling and cost against load")
    simulation.add_argument("--out", type=Path, help="a folder for the tables, and for python -m deploy.loadtest.plot")
    simulation.add_argument("--requests", type=int, default=20_000, help="of each simulated load (default: 20000)")
    options = parser.parse_args()
    name = options.command or "prove"
    run: Callable[[argparse.Namespace], int] = getattr(import_module(f"deploy.loadtest.{name}"), name)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())

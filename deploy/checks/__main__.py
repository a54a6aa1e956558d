"""Run the deployment checks, and print a line each: outcome, seconds, name, and the reason of a failure.

Exit status: 0 no check failed, 1 a check failed, 2 no check has that name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.checks.listed import CHECKS, Check
from deploy.checks.running import ROOT, Outcome, run


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    if options.list:
        for check in CHECKS:
            print(f"{check.name:<16}{'' if check.quick else '(not quick) '}{check.says}")
        return 0
    chosen = [check for check in CHECKS if wanted(check, options)]
    if not chosen:
        print(f"deploy/check: no such check; the checks are {', '.join(check.name for check in CHECKS)}")
        return 2
    options.logs.mkdir(parents=True, exist_ok=True)
    return report(run(check, options.logs) for check in chosen)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="checks to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="only the checks that CI runs, about three minutes")
    parser.add_argument("--list", action="store_true", help="list the checks and exit")
    parser.add_argument("--logs", type=Path, default=ROOT / ".run/check", help="folder of the log files (.run/check)")
    return parser


def wanted(check: Check, options: argparse.Namespace) -> bool:
    named = not options.names or check.name in options.names
    return named and (check.quick or not options.quick)


def report(outcomes: Iterable[Outcome]) -> int:
    """Print each outcome as its check ends, then the counts; return the exit status."""
    states = []
    for outcome in outcomes:
        states.append(outcome.state)
        print(line(outcome), flush=True)
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("ok", "failed", "skipped"))
    print(f"deploy/check: {counts}")
    return 1 if "failed" in states else 0


def line(outcome: Outcome) -> str:
    log = f" (log: {outcome.log})" if outcome.state == "failed" else ""
    note = f"{outcome.check.says}{f': {outcome.note}' if outcome.note else ''}{log}"
    return f"{outcome.state:<8}{outcome.seconds:7.1f} s  {outcome.check.name:<15} {note}"


if __name__ == "__main__":
    sys.exit(main())

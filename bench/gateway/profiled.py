"""A cProfile of the gateway during one measure: the share of each package, and the functions that take most.

  python -m bench.gateway.profiled recommendations

A gateway that is profiled takes twice as long: shares are what can be read here. A built-in function's time counts for
the package that calls it. `runners.py: run` is uvloop's own, waiting and system calls among it.
"""

from __future__ import annotations

import argparse
import pstats
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gateway.machine import divide_cores
from bench.gateway.measures import MEASURES, warm_up
from bench.gateway.testbed import start_testbed

STANDARD = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The folder of the standard library."""
BUILT_IN = "~"
"""pstats' name of the file of built-in functions."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=sorted(MEASURES))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--most", type=int, default=25, help="functions shown")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        noted = Path(folder) / "profile"
        profiled = (sys.executable, "-m", "cProfile", "-o", str(noted))
        with ExitStack() as stack:
            testbed, systems = start_testbed(["conviction"], divide_cores(), Path(), given.seconds, stack, profiled)
            warm_up(testbed, systems[-1], (given.measure,))
            MEASURES[given.measure](testbed, systems[-1])
        found = pstats.Stats(str(noted))
    shares = by_package(found.stats)  # type: ignore[attr-defined]  # not in typeshed
    for package, seconds in shares.most_common(given.most):
        print(f"{seconds / shares.total():6.1%}  {package}")
    found.strip_dirs().sort_stats("tottime").print_stats(given.most)


def by_package(stats: Mapping[Any, Any]) -> Counter[str]:
    """Return the seconds in each package itself, from pstats' function -> (calls, primitive calls, own, all, callers).

    A function is (file, line, name); a caller has the same numbers of the calls that it made.
    """
    seconds = Counter[str]()
    for (file, _, name), (_, _, own, _, callers) in stats.items():
        if _uvloop(file, name):
            continue
        if file == BUILT_IN:
            for (caller, _, outer), (_, _, part, _) in callers.items():
                if not _uvloop(caller, outer):
                    seconds[package_of(caller)] += part
        else:
            seconds[package_of(file)] += own
    return seconds


def package_of(file: str) -> str:
    """Return the package of a source file: of `app`, an installed one, or one of the standard library."""
    parts = Path(file).parts
    for folder, length in (("site-packages", 1), ("app", 2), (STANDARD, 1)):
        if folder in parts:
            at = parts.index(folder) + (folder != "app")
            return ".".join(Path(part).stem for part in parts[at : at + length])
    return "built in" if file == BUILT_IN else file


def _uvloop(file: str, name: str) -> bool:
    """Return whether this is the event loop, whose own time includes waiting."""
    return (Path(file).name, name) == ("runners.py", "run")


if __name__ == "__main__":
    main()

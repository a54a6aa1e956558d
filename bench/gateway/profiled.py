"""A cProfile of the gateway during one measure, sorted by the time in each function itself.

  python -m bench.gateway.profiled recommendations

A gateway that is profiled takes twice as long: shares are what can be read here. `runners.py: run` is uvloop's own,
waiting and system calls among it.
"""

from __future__ import annotations

import argparse
import pstats
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateway.machine import divide_cores
from bench.gateway.measures import MEASURES, warm_up
from bench.gateway.testbed import start_testbed


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
        pstats.Stats(str(noted)).strip_dirs().sort_stats("tottime").print_stats(given.most)


if __name__ == "__main__":
    main()

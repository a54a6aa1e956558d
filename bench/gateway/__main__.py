"""Conviction's gateway beside LiteLLM's proxy: POST /v1/chat/completions, one core each, the same upstream.

  make bench                                               everything, some fifteen minutes
  python -m bench.gateway --quick                          two short rounds, to see that it works
  python -m bench.gateway --quick --gateways               calibration: upstream and load generator alone
  python -m bench.gateway --measures soak --gateways conviction
  python -m bench.gateway --tree DIR                       this checkout beside another one, nothing else
  conviction up -- python -m bench.gateway.hosted          what the gateway leaves of the real vLLM's speed

Each round measures all gateways in a random order. Every answer and every request that reaches the upstream is
checked, and a wrong one ends the benchmark. README.md in this directory describes the measures.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.gateway.machine import divide_cores, machine, versions  # noqa: E402
from bench.gateway.programs import BenchmarkError  # noqa: E402
from bench.gateway.results import Rounds, document, table  # noqa: E402
from bench.gateway.schedule import QUICK, Schedule, run_schedule  # noqa: E402
from bench.gateway.systems import GATEWAYS  # noqa: E402 - the repository need not be installed
from bench.gateway.testbed import start_testbed  # noqa: E402


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default 7; quick: 2")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 5; quick: 1")
    parser.add_argument("--quick", action="store_true", help="two short rounds and a short soak")
    parser.add_argument("--measures", nargs="+", choices=Schedule().measures, default=[], help="default: all")
    parser.add_argument("--gateways", nargs="*", choices=list(GATEWAYS), help="default: all but tree")
    parser.add_argument("--litellm", type=Path, default=ROOT / ".envs/litellm", help="its virtual environment")
    parser.add_argument(
        "--tree", type=Path, default=ROOT, help="another checkout, with its .envs/gateway if it has one"
    )
    parser.add_argument("--out", type=Path, help="default bench/results.json; quick or tree: .run/bench/results.json")
    given = parser.parse_args()
    given.tree = given.tree.resolve()
    if given.gateways is None:
        given.gateways = ["conviction", "tree"] if given.tree != ROOT else [each for each in GATEWAYS if each != "tree"]
    return given


def schedule(given: argparse.Namespace) -> Schedule:
    wanted = {"rounds": given.rounds, "seconds": given.seconds, "measures": tuple(given.measures)}
    return replace(QUICK if given.quick else Schedule(), **{name: value for name, value in wanted.items() if value})


def main() -> None:
    given = options()
    plan = schedule(given)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cores = divide_cores()
    about = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cores),
        "versions": versions(
            given.litellm if any("litellm" in name for name in given.gateways) else None,
            {"conviction": ROOT} | ({"tree": given.tree} if "tree" in given.gateways else {}),
        ),
        "schedule": asdict(plan),
    }
    try:
        with ExitStack() as stack:
            testbed, systems = start_testbed(given.gateways, cores, given.litellm, plan.seconds, stack, tree=given.tree)
            of = Rounds(list(run_schedule(plan, testbed, systems)))
    except BenchmarkError as error:
        raise SystemExit(f"no figures: {error}") from None
    print("\n".join(table(of)))
    out: Path = given.out or ROOT / (
        ".run/bench/results.json" if given.quick or given.tree != ROOT else "bench/results.json"
    )
    before = json.loads(out.read_text()) if out.exists() else {}
    kept = {name: before[name] for name in ("vllm", "fresh", "vllm_options") if name in before}
    out.write_text(json.dumps(document(of, about) | kept, indent=1, allow_nan=False) + "\n")
    print(f"written to {out}")


if __name__ == "__main__":
    main()

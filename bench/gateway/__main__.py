"""Conviction's gateway beside others: POST /v1/chat/completions, one core each, the same upstream.

  make bench                                               everything, some fifteen minutes
  python -m bench.gateway --quick                          two short rounds, to see that it works
  python -m bench.gateway --quick --gateways               calibration: upstream and load generator alone
  python -m bench.gateway --measures soak --gateways conviction
  python -m bench.gateway --rivals                         all gateways, fewer measures, some six minutes
  python -m bench.gateway --tree DIR                       this checkout beside another one, nothing else
  conviction up -- python -m bench.gateway.hosted          what the gateway leaves of the real vLLM's speed

Each round measures all gateways in a random order. Every answer and every request that reaches the upstream is
checked, and a wrong one ends the benchmark. A rival that is not installed or does not start is left out, with a line
that says so. README.md in this directory describes the measures.
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

from bench import stored  # noqa: E402
from bench.gateway.gateways import GATEWAYS, RIVALS  # noqa: E402
from bench.gateway.machine import divide_cores, machine, versions  # noqa: E402
from bench.gateway.programs import BenchmarkError  # noqa: E402
from bench.gateway.report import SECTION, report  # noqa: E402
from bench.gateway.results import Document, Rounds, document, table  # noqa: E402
from bench.gateway.schedule import QUICK, WITH_RIVALS, Schedule, run_schedule  # noqa: E402
from bench.gateway.testbed import start_testbed  # noqa: E402


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default 7; rivals: 3; quick: 2")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 5; rivals: 2; quick: 1")
    parser.add_argument("--quick", action="store_true", help="two short rounds and a short soak")
    parser.add_argument("--measures", nargs="+", choices=Schedule().measures, default=[], help="default: all")
    parser.add_argument(
        "--gateways", nargs="*", choices=list(GATEWAYS), help="default: conviction and LiteLLM; rivals: all but tree"
    )
    parser.add_argument("--rivals", action="store_true", help="a shorter benchmark of all gateways")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".envs", help="the folder with an environment for each rival"
    )
    parser.add_argument(
        "--tree", type=Path, default=ROOT, help="another checkout, with its .envs/gateway if it has one"
    )
    parser.add_argument("--out", type=Path, help="default bench/results.json; quick or tree: .run/bench/results.json")
    given = parser.parse_args()
    given.tree = given.tree.resolve()
    if given.gateways is None:
        given.gateways = chosen(given)
    return given


def chosen(given: argparse.Namespace) -> list[str]:
    """Return the gateways measured where none are named."""
    if given.tree != ROOT:
        return ["conviction", "tree"]
    return [each for each in GATEWAYS if each != "tree"] if given.rivals else ["conviction", "litellm", "litellm_bare"]


def schedule(given: argparse.Namespace) -> Schedule:
    usual = WITH_RIVALS if given.rivals else Schedule()
    wanted = {"rounds": given.rounds, "seconds": given.seconds, "measures": tuple(given.measures)}
    base = replace(QUICK, measures=usual.measures) if given.quick else usual
    return replace(base, **{name: value for name, value in wanted.items() if value})


def compared(given: argparse.Namespace) -> dict[str, str]:
    """Return the versions of what is compared."""
    rivals = {
        GATEWAYS[name].package: given.environments / GATEWAYS[name].environment
        for name in given.gateways
        if name in RIVALS
    }
    return versions(rivals, {"conviction": ROOT} | ({"tree": given.tree} if "tree" in given.gateways else {}))


def main() -> None:
    given = options()
    plan = schedule(given)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    cores = divide_cores()
    about = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cores),
        "versions": compared(given),
        "schedule": asdict(plan),
    }
    try:
        with ExitStack() as stack:
            place = given.gateways, cores, given.environments.resolve(), plan.seconds, stack
            testbed, systems = start_testbed(*place, tree=given.tree)
            of = Rounds(list(run_schedule(plan, testbed, systems)))
    except BenchmarkError as error:
        raise SystemExit(f"no figures: {error}") from None
    found = document(of, {**about, "left_out": testbed.left_out})
    print("\n".join(report(found) if given.rivals else table(of)))
    out: Path = given.out or ROOT / (
        ".run/bench/results.json" if given.quick or given.tree != ROOT else "bench/results.json"
    )
    write(found, out, given.rivals)
    print(f"written to {out}")


def write(found: Document, out: Path, rivals: bool) -> None:
    """Write a run's document: one with rivals as a section, any other around the sections of other benchmarks."""
    if rivals:
        stored.store((SECTION,), found, out)
        return
    before = json.loads(out.read_text()) if out.exists() else {}
    kept = {name: before[name] for name in ("vllm", "fresh", "vllm_options", SECTION) if name in before}
    out.write_text(json.dumps(found | kept, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

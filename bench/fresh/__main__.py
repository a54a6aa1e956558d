"""How long a fresh clone takes until it answers, how long a later start takes, and how fast it then answers.

  make bench-fresh                                     with empty caches: several GB of downloads
  python3 -m bench.fresh --keep                        keep the folder
  python3 -m bench.fresh --emulate-avx2                as on a CPU without AVX-512

No other program should run during the benchmark.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any

from app.contract import hardware
from app.contract.machine import detect
from bench import stored
from bench.fresh.checkout import Checkout, cloned, differs_from_head
from bench.fresh.phases import phases
from bench.fresh.questions import Questions
from bench.fresh.serving import ServeFailed, serving

FIRST_START_S, LATER_START_S = 240.0, 60.0
ANSWER_S = {"AVX2": {"brief": 1.5, "full": 18.0}, "AVX-512": {"brief": 0.6, "full": 7.0}}
"""Targets for answers on an otherwise idle machine, by kind of CPU."""


def started(checkout: Checkout) -> dict[str, Any]:
    """Start `make serve`, send the requests, and stop it."""
    with serving(checkout) as running:
        began = monotonic()
        questions = Questions(running.url)
        questions.ask("brief")
        first_answer = round(monotonic() - began, 1)
        answers = questions.medians()
    return {"phases": phases(running.lines) | {"first answer, after ready": first_answer}, "answers": answers}


def verdicts(kind: str, first: dict[str, Any], later: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield each figure that has a target: its name, its value, the target; all are in seconds."""
    yield "first start until ready", first["phases"]["until ready"], FIRST_START_S
    yield "later start until ready", later["phases"]["until ready"], LATER_START_S
    for detail, seconds in ANSWER_S.get(kind.removesuffix(" emulated"), {}).items():
        yield f"{detail} answer, first start", first["answers"][detail]["seconds"], seconds
        yield f"{detail} answer, later start", later["answers"][detail]["seconds"], seconds


def report(kind: str, figures: dict[str, Any]) -> Iterator[str]:
    yield f"{kind}: {figures['machine']}"
    yield f"{figures['profile']}; commit {figures['commit']}, {figures['measured_at']}"
    for name in ("first", "later"):
        for phase, seconds in figures[name]["phases"].items():
            yield f"  {name} start: {phase:<30} {seconds:7.1f} s"
        for detail, answer in figures[name]["answers"].items():
            tokens = f"{answer['tokens']:g} tokens, longest {answer['longest_seconds']:.2f} s"
            yield f"  {name} start: {detail + ' answer':<30} {answer['seconds']:7.2f} s ({tokens})"
    for name, verdict in figures["targets"].items():
        met = "met" if verdict["met"] else "MISSED"
        yield f"  {name:<35} {verdict['seconds']:7.2f} s, asked {verdict['asked']:g} s: {met}"


def measure(given: argparse.Namespace) -> dict[str, Any]:
    extra = stored.EMULATED_AVX2 if given.emulate_avx2 else {}
    machine, load = detect(), os.getloadavg()[0]
    origin = stored.origin(machine, hardware.choose(machine, extra), load)
    began = monotonic()
    with cloned(extra, keep=given.keep) as checkout:
        clone = round(monotonic() - began, 1)
        first, later = started(checkout), started(checkout)
    first["phases"] = {"clone, before the start": clone} | first["phases"]
    kind = stored.kind(machine, emulated=given.emulate_avx2)
    targets = {
        name: {"seconds": value, "asked": asked, "met": value <= asked}
        for name, value, asked in verdicts(kind, first, later)
    }
    return {**origin, "first": first, "later": later, "targets": targets}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.fresh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with the clone and its caches")
    parser.add_argument("--emulate-avx2", action="store_true", help="let PyTorch and oneDNN use AVX2 at most")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs the clean-up that Ctrl-C runs
    if differs_from_head():
        print("WARNING: the checkout has changes that are not committed; HEAD is measured, without them", flush=True)
    try:
        figures = measure(given)
    except (ServeFailed, hardware.UnsupportedMachine, OSError, ValueError) as error:
        print(f"bench-fresh: no figures: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    kind = stored.kind(detect(), emulated=given.emulate_avx2)
    print("\n".join(report(kind, figures)))
    stored.store(("fresh", kind), figures)
    print(f"written to {stored.RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The table of the last benchmark of all gateways, in Markdown: python -m bench.gateway.report [RESULTS]

RESULTS is bench/results.json unless given; `python -m bench.gateway --rivals` writes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.gateway.figures import Estimate, significant  # noqa: E402 - the repository need not be installed
from bench.gateway.gateways import GATEWAYS, Work  # noqa: E402
from bench.gateway.results import OURS, Document, Rounds, estimates  # noqa: E402

SECTION = "rivals"
COLUMNS = {
    "requests a second": "throughput_per_core",
    "CPU, ms a request": "cpu_ms_per_request",
    "added p50, ms": "added_latency_ms.p50",
    "added p99, ms": "added_latency_ms.p99",
    "added first token, ms": "added_ttft_ms",
    "memory, MB": "memory_mb",
}
"""Titles, and names of figures."""
NONE = "No benchmark of all gateways is stored."


def report(run: Document) -> Iterator[str]:
    """Yield the table: a row for each gateway with its figures and its work for each request; then what limits them."""
    figures, names = estimates(Rounds(run["rounds"])), {each["gateway"] for each in run["rounds"]}
    work = [field.name for field in fields(Work)]
    yield _row(["", *COLUMNS, *work])
    yield _row(["---"] * (1 + len(COLUMNS) + len(work)))
    for name in (each for each in GATEWAYS if each in names):
        cells = (_cell(figures.get(figure if name == OURS else f"{name}.{figure}")) for figure in COLUMNS.values())
        yield _row([_label(name, run["versions"]), *cells, *(getattr(GATEWAYS[name].work, each) for each in work)])
    yield ""
    plan = run["schedule"]
    yield f"{plan['rounds']} rounds of {plan['seconds']:g} s, {run['machine']['cpu']}, {run['measured_at'][:10]}."
    yield from (f"{name} is left out: {reason}" for name, reason in run["left_out"].items())
    yield from (f"Doubtful: {doubt}" for doubt in run["doubts"])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _label(name: str, versions: Mapping[str, str]) -> str:
    return f"{name} {versions.get(GATEWAYS[name].package or name, '')}".rstrip()


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    value, low, high = (f"{significant(each, 3):,g}" for each in (estimate.value, estimate.low, estimate.high))
    return value if low == high else f"{value} ({low} to {high})"


def main(path: Path) -> None:
    found = json.loads(path.read_text()).get(SECTION)
    if found is None:
        raise SystemExit(f"{NONE} `python -m bench.gateway --rivals` measures them.")
    print("\n".join(report(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench/results.json")

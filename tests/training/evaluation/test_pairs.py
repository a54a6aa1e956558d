from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.recommendation import canonical
from training.artifacts import Artifacts, write_rows
from training.evaluation.pairs import pairs_of_market, pairs_of_run


def labelled(detail: str, teacher: str = rules.MODEL_ID) -> dict[str, object]:
    answer = canonical(rules.answer(EXAMPLE, "full" if detail == "full" else "brief"))
    return {
        "ticker": "SNPS",
        "detail": detail,
        "metrics": json.loads(EXAMPLE.model_dump_json(by_alias=True, exclude_none=True)),
        "answer": answer,
        "teacher": teacher,
    }


def test_pairs_of_a_market_are_those_of_its_tickers(synthetic_market: Path) -> None:
    pairs = pairs_of_market(synthetic_market, "simulated", "brief", 10, 0)
    assert len(pairs) == 10
    assert {pair.ticker for pair in pairs} <= {"SYNA", "SYNB", "SYNC", "SYND", "SYNE", "SYNF"}
    assert all(pair.metrics.options.call_iv_avg for pair in pairs)
    assert pairs == pairs_of_market(synthetic_market, "simulated", "brief", 10, 0)
    assert pairs != pairs_of_market(synthetic_market, "simulated", "brief", 10, 1)


def test_no_snapshot_of_a_market_is_asked_about_twice(synthetic_market: Path) -> None:
    pairs = pairs_of_market(synthetic_market, "none", "brief", 400, 0)
    assert len({(pair.ticker, pair.metrics.as_of) for pair in pairs}) == len(pairs)


def test_a_folder_that_is_no_market_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ohlcv"):
        pairs_of_market(tmp_path, "simulated", "brief", 10, 0)


def test_pairs_of_a_run_are_its_test_split_and_name_their_teacher(artifacts: Artifacts) -> None:
    write_rows(artifacts.stage("label") / "test.jsonl", [labelled("brief", "gpt-4.1"), labelled("full", "gpt-4.1")])
    artifacts.complete("label", {})
    (pair,) = pairs_of_run(artifacts, "brief")
    assert (pair.ticker, pair.metrics, pair.teacher) == ("SNPS", EXAMPLE, "gpt-4.1")
    assert pair.truth == rules.answer(EXAMPLE, "brief")


def test_pairs_are_those_of_the_split_that_is_named(artifacts: Artifacts) -> None:
    for split in ("train", "validation"):
        write_rows(artifacts.stage("label") / f"{split}.jsonl", [{**labelled("brief"), "ticker": split.upper()}])
    artifacts.complete("label", {})
    for split in ("train", "validation"):
        assert [pair.ticker for pair in pairs_of_run(artifacts, "brief", split)] == [split.upper()]
    with pytest.raises(ValueError, match=r"validation\.jsonl has no full pair"):
        pairs_of_run(artifacts, "full", "validation")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"answer": '{"action":"maybe","conviction":3}'}, "line 2: action: "),
        ({"metrics": {"price": -1, **SPARSE.document()["technicals"]}}, "line 2: "),
        ({"teacher": None}, "line 2: 'teacher' is missing"),
    ],
)
def test_a_malformed_line_is_named(artifacts: Artifacts, spoil: dict[str, object], message: str) -> None:
    spoilt = {name: value for name, value in {**labelled("brief"), **spoil}.items() if value is not None}
    write_rows(artifacts.stage("label") / "test.jsonl", [labelled("brief"), spoilt])
    artifacts.complete("label", {})
    with pytest.raises(ValueError, match=rf"test\.jsonl, {message}"):
        pairs_of_run(artifacts, "brief")


def test_a_detail_that_the_run_has_not_is_reported(artifacts: Artifacts) -> None:
    write_rows(artifacts.stage("label") / "test.jsonl", [labelled("brief")])
    artifacts.complete("label", {})
    with pytest.raises(ValueError, match="no full pair"):
        pairs_of_run(artifacts, "full")

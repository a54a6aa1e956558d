from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.recommendation import Action
from tests.training.evaluation.examined import examined
from training.config.publish import MinAgreement, Publish
from training.evaluation.rows import Row
from training.publish.gate import Refused, gate

TEACHER = "rule-based-analyst-1"
LIMITS = Publish()


CONVICTION = {"mean_absolute_error": 0.6, "within_one": 0.85, "spearman": 0.8, "quadratic_kappa": 0.81}


def report(value: float = 0.9, low: float = 0.88, n: int = 1000, ece: float = 0.02, **changes: Any) -> dict[str, Any]:
    return {
        "agreement": {"value": value, "low": low, "high": 0.95, "n": n, "tickers": 150},
        "majority_baseline": {"action": "hold", "value": 0.4},
        "failures": {},
        "teacher": TEACHER,
        "conviction": CONVICTION,
        "calibration": {"probabilities": {"n": n, "ece": ece}},
        **changes,
    }


def rows(hits: int, pairs: int = 1000) -> list[Row]:
    """Pairs of which the first `hits` are answered as the teacher did."""
    answers: list[Action] = ["buy"] * hits + ["sell"] * (pairs - hits)
    return [examined("buy", answer, ticker=f"T{i % 150}", rsi=i / 100) for i, answer in enumerate(answers)]


ANSWERS = {f"{detail}-{kind}": rows(900) for detail in ("brief", "full") for kind in ("adapter", "merged", "awq")}


def good() -> dict[str, Any]:
    return {f"{detail}-{kind}": report() for detail in ("brief", "full") for kind in ("adapter", "awq")}


def failed(
    reports: dict[str, Any], *overrides: str, limits: Publish = LIMITS, answers: Mapping[str, list[Row]] = ANSWERS
) -> str:
    with pytest.raises(Refused) as caught:
        gate(limits, reports, answers, TEACHER, overrides)
    return str(caught.value)


def test_what_holds_everywhere_passes() -> None:
    checks = gate(LIMITS, good(), ANSWERS, TEACHER)
    assert len(checks) == 14
    assert all(check.held for check in checks)


@pytest.mark.parametrize(
    ("reports", "check", "found"),
    [
        (
            {"full-awq": report(0.73)},
            "min_agreement.full",
            "0.7300 (95% by ticker 0.8800 to 0.9500), at least 0.85 wanted",
        ),
        ({"brief-awq": report(low=0.4)}, "above_majority.brief", "low end 0.4000, always saying hold 0.4000"),
        (
            {"full-awq": report(failures={"length": 1, "unparsed_answer": 2})},
            "max_failures.full",
            "3 of 1000 answers failed (1 length, 2 unparsed_answer), a share of at most 0.0005 wanted",
        ),
        ({"brief-awq": report(n=999)}, "min_pairs.brief", "999 pairs of 150 tickers, at least 1000 pairs wanted"),
        ({"full-awq": report(n=499)}, "min_pairs.full", "499 pairs of 150 tickers, at least 500 pairs wanted"),
        (
            {"brief-awq": report(ece=0.0501)},
            "max_ece.brief",
            "0.0501 over 1000 answers, not calibrated, at most 0.05 wanted",
        ),
        ({"full-awq": report(calibration={"probabilities": None})}, "max_ece.full", "no answer has probabilities"),
        (
            {"full-awq": report(conviction={**CONVICTION, "within_one": 0.69, "spearman": None})},
            "min_conviction_within_one.full",
            "0.6900 (mean error 0.600, Spearman undefined and quadratic kappa 0.810), at least 0.7 wanted",
        ),
        (
            {"full-awq": report(conviction={**CONVICTION, "within_one": None})},
            "min_conviction_within_one.full",
            "no share of answers within 1 of the teacher's conviction is known",
        ),
        ({"full-awq": report(teacher="gpt-4.1")}, "min_agreement.full", "measured against gpt-4.1, but the labels"),
    ],
)
def test_what_fails_is_named_with_its_figures(reports: dict[str, Any], check: str, found: str) -> None:
    message = failed(good() | reports)
    assert f"{check}: {found}" in message


def test_all_that_failed_is_all_reported_and_what_is_missing_failed() -> None:
    lines = failed({}).splitlines()[1:]
    assert len(lines) == 14
    assert all("there is no evaluation" in line for line in lines)


def test_a_loss_without_a_before_is_not_a_pass() -> None:
    reports = {"brief-awq": report(), "full-awq": report()}
    assert "max_quantisation_loss.full: there is no evaluation full-adapter or full-merged" in failed(reports)


def test_the_merged_weights_serve_where_the_adapter_was_not_evaluated() -> None:
    reports = good()
    reports["full-merged"] = reports.pop("full-adapter")
    checks = {check.name: check for check in gate(LIMITS, reports, ANSWERS, TEACHER)}
    assert all(check.held for check in checks.values())
    assert "0.00 points lost from full-merged" in checks["max_quantisation_loss.full"].found


def test_the_loss_is_that_of_the_same_pairs_with_mcnemar_s_test() -> None:
    message = failed(good(), answers=ANSWERS | {"brief-adapter": rows(911)})
    assert "max_quantisation_loss.brief: 1.10 points lost from brief-adapter (" in message
    assert "; right alone 11 and 0, McNemar p = 0.001), at most 1.00 wanted" in message
    gate(LIMITS, good(), ANSWERS | {"brief-adapter": rows(910)}, TEACHER)


@pytest.mark.parametrize(
    ("reports", "answers"),
    [
        ({"brief-adapter": report(teacher="gpt-4.1")}, {}),
        ({}, {"brief-adapter": rows(900)[:-1]}),
        ({}, {"brief-adapter": rows(900, 1001)}),
        ({}, {"brief-adapter": [examined("buy", "buy", rsi=99.0)] * 1000}),
        ({}, {"brief-adapter": []}),
    ],
    ids=["another teacher", "fewer", "more", "others", "no rows"],
)
def test_other_pairs_do_not_show_the_loss(reports: dict[str, Any], answers: dict[str, list[Row]]) -> None:
    message = failed(good() | reports, answers=ANSWERS | answers)
    assert "brief-adapter and brief-awq were evaluated on different pairs" in message


def test_an_override_lets_pass_what_it_names_and_nothing_else() -> None:
    reports = good() | {"full-awq": report(0.5), "full-adapter": report(0.5), "brief-awq": report(0.89, 0.3)}
    assert "min_agreement.full" not in failed(reports, "min_agreement.full")
    checks = gate(LIMITS, reports, ANSWERS, TEACHER, ["min_agreement.full", "above_majority.brief"])
    assert {check.name for check in checks if not check.held} == {"min_agreement.full", "above_majority.brief"}


def test_an_unknown_override_is_named_beside_the_known() -> None:
    message = failed(good(), "min_agreement")
    assert message.startswith("no check is called min_agreement; there are min_pairs.brief, min_agreement.brief")


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_bound_of_agreement_is_the_configs(value: float, least: float) -> None:
    limits = Publish(min_agreement=MinAgreement(brief=least, full=0))
    overrides = ["above_majority.brief"]
    reports = good() | {"brief-awq": report(value)}
    if value >= least:
        assert gate(limits, reports, ANSWERS, TEACHER, overrides)
    else:
        assert "min_agreement.brief" in failed(reports, *overrides, limits=limits)

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import MinAgreement, Publish
from training.publish.gate import Refused, gate

TEACHER = "rule-based-analyst-1"
LIMITS = Publish()


def report(value: float = 0.9, low: float = 0.88, **changes: Any) -> dict[str, Any]:
    agreement = {"value": value, "low": low, "high": 0.95, "n": 1000, "tickers": 150}
    majority = {"action": "hold", "value": 0.4}
    return {
        "agreement": agreement, "majority_baseline": majority, "failures": {}, "teacher": TEACHER, **changes,
    }  # fmt: skip


def good() -> dict[str, Any]:
    return {f"{detail}-{kind}": report() for detail in ("brief", "full") for kind in ("adapter", "awq")}


def failed(reports: dict[str, Any], *overrides: str, limits: Publish = LIMITS) -> str:
    with pytest.raises(Refused) as caught:
        gate(limits, reports, TEACHER, overrides)
    return str(caught.value)


def test_what_holds_everywhere_passes() -> None:
    checks = gate(LIMITS, good(), TEACHER)
    assert len(checks) == 8
    assert all(check.held for check in checks)


@pytest.mark.parametrize(
    ("reports", "check", "found"),
    [
        ({"full-awq": report(0.73)}, "min_agreement.full", "0.7300, at least 0.85 wanted"),
        ({"brief-awq": report(low=0.4)}, "above_majority.brief", "low end 0.4000, always saying hold 0.4000"),
        (
            {"full-awq": report(failures={"length": 1, "unparsed_answer": 2})},
            "max_failures.full",
            "3 of 1000 answers failed (1 length, 2 unparsed_answer), a share of at most 0.0005 wanted",
        ),
        (
            {"brief-adapter": report(0.9101)},
            "max_quantisation_loss.brief",
            "1.01 points lost from brief-adapter, at most 1.00 wanted",
        ),
        ({"full-awq": report(teacher="gpt-4.1")}, "min_agreement.full", "measured against gpt-4.1, but the labels"),
    ],
)
def test_what_fails_is_named_with_its_figures(reports: dict[str, Any], check: str, found: str) -> None:
    message = failed(good() | reports)
    assert f"{check}: {found}" in message


def test_all_that_failed_is_all_reported_and_what_is_missing_failed() -> None:
    lines = failed({}).splitlines()[1:]
    assert len(lines) == 8
    assert all("there is no evaluation" in line for line in lines)


def test_a_loss_without_a_before_is_not_a_pass() -> None:
    reports = {"brief-awq": report(), "full-awq": report()}
    assert "max_quantisation_loss.full: there is no evaluation full-adapter or full-merged" in failed(reports)


def test_the_merged_weights_serve_where_the_adapter_was_not_evaluated() -> None:
    reports = good()
    reports["full-merged"] = reports.pop("full-adapter")
    assert all(check.held for check in gate(LIMITS, reports, TEACHER))


def test_other_pairs_do_not_tell_the_loss() -> None:
    other = report(majority_baseline={"action": "buy", "value": 0.41})
    assert "brief-adapter and brief-awq were evaluated on different pairs" in failed(good() | {"brief-adapter": other})


def test_an_override_lets_pass_what_it_names_and_nothing_else() -> None:
    reports = good() | {"full-awq": report(0.5), "full-adapter": report(0.5), "brief-awq": report(0.89, 0.3)}
    assert "min_agreement.full" not in failed(reports, "min_agreement.full")
    checks = gate(LIMITS, reports, TEACHER, ["min_agreement.full", "above_majority.brief"])
    assert {check.name for check in checks if not check.held} == {"min_agreement.full", "above_majority.brief"}


def test_an_unknown_override_is_named_beside_the_known() -> None:
    message = failed(good(), "min_agreement")
    assert message.startswith("no check is called min_agreement; there are min_agreement.brief, above_majority.brief")


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_bound_of_agreement_is_the_configs(value: float, least: float) -> None:
    limits = Publish(min_agreement=MinAgreement(brief=least, full=0))
    overrides = ["max_quantisation_loss.brief", "above_majority.brief"]
    reports = good() | {"brief-awq": report(value)}
    if value >= least:
        assert gate(limits, reports, TEACHER, overrides)
    else:
        assert "min_agreement.brief" in failed(reports, *overrides, limits=limits)

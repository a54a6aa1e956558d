from __future__ import annotations

from decimal import Decimal

import pytest

from training.costs import case_study
from training.costs.arithmetic import notes, rounded, training_note
from training.costs.case_study import Training


@pytest.mark.parametrize(
    "message",
    [
        "46 min 43 s at $1.89 an hour is $1.47, not $1.46",
        "13 min 14 s at $7.56 an hour is $1.67, not $1.66",
        "44 min 36 s at $1.89 an hour is $1.40, not $1.41",
        "$0.7364 an hour x 24 is $17.67 a day, not $10, which pays for 13.6 hours",
        "GPT-4 costs 8.1 times as much at that load, half of that at 100 calls, and the same at 24.5 calls an hour",
        "1,000 pairs of 1,000 tokens at $0.03 per 1,000 are $30, not $15",
        "$1.890 is the hourly price of the A100",
        "200 such calls an hour are 55.6 tokens a second",
        "gpt-4-0125-preview cost $0.01 in and $0.03 out",
        "33.33 ms a token is 30 tokens a second: 108 calls an hour",
        "only because a call is taken to be 1,000 tokens",
        "would be 142,704 tokens a second on one A100",
    ],
)
def test_what_does_not_hold_is_reported_with_what_would(message: str) -> None:
    assert any(message in note for note in notes())


def test_a_row_without_a_price_has_no_arithmetic() -> None:
    assert training_note(Training("QWAK", "A10", "m", 1, Decimal(6660), None, None)) is None


def test_the_published_tables_agree_with_the_shipped_prices() -> None:
    assert str(case_study.USD_PER_HOUR) == "0.7364"
    assert rounded(case_study.USD_PER_HOUR / 200, case_study.MISTRAL.usd_per_call) == case_study.MISTRAL.usd_per_call
    for row, model in ((case_study.GPT4, "GPT-4"), (case_study.MISTRAL, "Mistral 7B")):
        assert 1000 * row.usd_per_1k == case_study.USD_PER_MILLION[model]

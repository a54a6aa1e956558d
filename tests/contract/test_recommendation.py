from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.prompt import Detail
from app.contract.recommendation import (
    ACTIONS,
    ANALYSIS_MAX,
    ANSWERS,
    Answer,
    BriefAnswer,
    FullAnswer,
    UnparsedAnswer,
    answer_schema,
    canonical,
    parse,
)  # fmt: skip

BRIEF = st.builds(BriefAnswer, action=st.sampled_from(ACTIONS), conviction=st.integers(1, 10))
FULL = st.builds(
    FullAnswer,
    analysis=st.text(min_size=1, max_size=200, alphabet=st.characters(exclude_categories=["Cs"])),
    action=st.sampled_from(ACTIONS),
    conviction=st.integers(1, 10),
)


@given(BRIEF | FULL)
def test_canonical_json_parses_to_the_same_answer(answer: Answer) -> None:
    detail: Detail = "full" if isinstance(answer, FullAnswer) else "brief"
    assert parse(detail, canonical(answer)) == answer


def test_the_action_comes_first() -> None:
    text = canonical(FullAnswer(analysis="x", action="buy", conviction=7))
    assert text == '{"action":"buy","conviction":7,"analysis":"x"}'
    assert canonical(BriefAnswer(action="sell", conviction=10)) == '{"action":"sell","conviction":10}'


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ("brief", ""),
        ("brief", "hold"),
        ("brief", '{"action":"hold"'),
        ("brief", '{"action":"hold","conviction":5} and more'),
        ("brief", '{"action":"wait","conviction":5}'),
        ("brief", '{"action":"hold","conviction":0}'),
        ("brief", '{"action":"hold","conviction":11}'),
        ("brief", '{"action":"hold","conviction":"5"}'),
        ("brief", '{"action":"hold","conviction":5.0}'),
        ("brief", '{"action":"hold","conviction":5,"note":1}'),
        ("brief", '{"action":"hold","conviction":5,"action":"buy"}'),
        ("full", '{"action":"hold","conviction":5}'),
        ("full", '{"action":"hold","conviction":5,"analysis":"x","analysis":"x"}'),
        ("full", '{"analysis":"","action":"hold","conviction":5}'),
        ("full", json.dumps({"analysis": "x" * (ANALYSIS_MAX + 1), "action": "buy", "conviction": 1})),
    ],
)
def test_only_one_complete_answer_is_parsed(detail: Detail, text: str) -> None:
    with pytest.raises(UnparsedAnswer):
        parse(detail, text)


@given(st.text(max_size=60))
def test_random_text_is_no_answer(text: str) -> None:
    for detail in ANSWERS:
        with pytest.raises(UnparsedAnswer):
            parse(detail, text)


@pytest.mark.parametrize("detail", ANSWERS)
def test_schemas_are_strict_everywhere(detail: Detail) -> None:
    schema = answer_schema(detail, bounded=False)
    assert schema["required"] == list(schema["properties"]) == list(ANSWERS[detail].model_fields)
    assert schema["additionalProperties"] is False
    assert "maxLength" not in json.dumps(schema)
    assert ("maxLength" in json.dumps(answer_schema(detail))) == (detail == "full")

"""A choice selects exactly the pairs that have all of its values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.choice import Choice
from app.comparison.pairs import Pair
from app.comparison.records import BLINDS, DETAILS, ORIGINS
from app.comparison.versions import Version
from app.contract.recommendation import ACTIONS
from tests.statistics.pairs import pair, records, side

VERSIONS = (None, Version("small", "1"), Version("small", "2"), Version("large", "2"))
SIDES = st.builds(side, st.sampled_from([*ACTIONS, None])) | st.builds(
    side, st.sampled_from(ACTIONS), version=st.sampled_from(VERSIONS)
)
PAIRS = st.lists(
    st.builds(
        pair,
        *(SIDES, SIDES, st.sampled_from(["A", "B", None]), st.sampled_from(DETAILS)),
        *(st.sampled_from(ORIGINS), st.sampled_from(BLINDS)),
    ),
    max_size=12,
)


def chosen(pairs: list[Pair], **given: Any) -> list[int]:
    return [int(index) for index in Choice(**given).mask(records(pairs, VERSIONS), VERSIONS).nonzero()[0]]


def versions(each: Pair) -> list[Version]:
    return [own.version for own in each.sides.values() if own.version]


@given(PAIRS)
def test_each_value_selects_the_pairs_that_have_it(pairs: list[Pair]) -> None:
    tests: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda each: True),
        ({"tickers": ["B", "C"]}, lambda each: each.ticker == "B"),
        ({"detail": "brief"}, lambda each: each.detail == "brief"),
        ({"origin": "shadow"}, lambda each: each.origin == "shadow"),
        ({"blind": True}, lambda each: each.blind is True),
        ({"blind": False}, lambda each: each.blind is False),
        ({"agree": True}, lambda each: each.agree is True),
        ({"agree": False}, lambda each: each.agree is False),
        ({"prompt_version": "2"}, lambda each: any(own.prompt_version == "2" for own in versions(each))),
        ({"models": {"gpt-4": "small"}}, lambda each: _model(each, "gpt-4") == "small"),
        (
            {"models": {"mistral": "small", "gpt-4": "large"}, "agree": False},
            lambda each: (_model(each, "mistral"), _model(each, "gpt-4"), each.agree) == ("small", "large", False),
        ),
    ]
    for choice, fits in tests:
        assert chosen(pairs, **choice) == [index for index, each in enumerate(pairs) if fits(each)]


@pytest.mark.parametrize("agree", [True, False])
def test_a_failed_side_neither_agrees_nor_disagrees(agree: bool) -> None:
    assert chosen([pair(side(None), side(None)), pair(side("buy"), side(None))], agree=agree) == []


def _model(each: Pair, name: Any) -> str | None:
    version = each.sides[name].version  # type: ignore[index]
    return version and version.model

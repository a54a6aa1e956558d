"""The estimate of usage that no server reported."""

from __future__ import annotations

import pytest

from app.backends.estimate import count_characters, estimate_usage
from app.contract.completion import Usage


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([{"role": "user", "content": "four"}, {"role": "assistant", "content": "fivee"}], 9),
        ([{"role": "user", "content": [{"type": "text", "text": "four"}, {"type": "image_url", "image_url": {}}]}], 4),
        ([{"role": "assistant", "content": None, "tool_calls": []}], 0),
        (None, 0),
        (7, 0),
        ([None, 7, "six"], 3),
    ],
)
def test_characters_of_messages_of_any_shape(messages: object, length: int) -> None:
    assert count_characters(messages) == length


def test_an_estimate_is_marked() -> None:
    assert estimate_usage([{"role": "user", "content": "x" * 31}], 4) == Usage(11, 4, estimated=True)

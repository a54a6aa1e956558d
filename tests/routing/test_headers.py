"""The headers that choose a backend, a fallback and a subject."""

from __future__ import annotations

import pytest

from app.contract.completion import BACKEND_NAMES
from app.errors import InvalidRequest, UnknownBackend
from app.routing.headers import CHOICES, MAX_SUBJECT_LENGTH, backends_of, choose, choose_fallback, subject


@pytest.mark.parametrize("given", ["mistral", "MISTRAL", " Mistral\t"])
def test_any_case_names_a_backend(given: str) -> None:
    assert choose([given]) == "mistral"


def test_a_cascade_asks_all_and_a_backend_itself() -> None:
    assert choose(["Cascade"]) == "cascade"
    assert [backends_of(choice) for choice in CHOICES] == [
        *(("mistral",), ("gpt-4",), ("candidate",)),
        BACKEND_NAMES,
    ]


@pytest.mark.parametrize("given", [[""], ["gpt4"], ["gpt-4.1"], ["mistral", "mistral"], ["mistral,gpt-4"]])
def test_anything_else_is_refused_and_all_are_named(given: list[str]) -> None:
    with pytest.raises(UnknownBackend, match="mistral, gpt-4, candidate, cascade"):
        choose(given)


def test_a_cascade_cannot_be_a_fallback_and_may_have_either() -> None:
    with pytest.raises(UnknownBackend, match=r"mistral, gpt-4$"):
        choose_fallback(["cascade"], "mistral")
    assert [choose_fallback([name], "cascade") for name in BACKEND_NAMES] == list(BACKEND_NAMES)


@pytest.mark.parametrize("given", [[""], [" "], ["d\xe9sk"], ["desk\x00"], ["x" * (MAX_SUBJECT_LENGTH + 1)]])
def test_an_invalid_subject_is_refused(given: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="X-Subject must be"):
        subject(given)

"""The header that chooses a backend."""

from __future__ import annotations

import pytest

from app.errors import UnknownBackend
from app.routing import choose_backend


@pytest.mark.parametrize("given", ["mistral", "MISTRAL", " Mistral\t"])
def test_any_case_names_a_backend(given: str) -> None:
    assert choose_backend([given], "gpt-4") == "mistral"


def test_without_a_header_the_default_answers() -> None:
    assert choose_backend([], "gpt-4") == "gpt-4"


@pytest.mark.parametrize("given", [[""], ["gpt4"], ["gpt-4.1"], ["mistral", "mistral"], ["mistral,gpt-4"]])
def test_anything_else_is_refused_and_both_are_named(given: list[str]) -> None:
    with pytest.raises(UnknownBackend, match="mistral, gpt-4"):
        choose_backend(given, "mistral")

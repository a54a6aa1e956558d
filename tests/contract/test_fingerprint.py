from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.contract import fingerprint as module
from app.contract import prompt
from app.contract.fingerprint import fingerprint


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    fingerprint.cache_clear()
    yield
    fingerprint.cache_clear()


def test_it_is_twelve_hex_digits_and_stable() -> None:
    first = fingerprint()
    fingerprint.cache_clear()
    assert fingerprint() == first
    assert len(first) == 12
    int(first, 16)


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (prompt, "TASK", "Judge."),
        (prompt, "ANSWER", {"full": "", "brief": ""}),
        (module, "METRIC_NAMES", ("price",)),
        (module, "answer_schema", lambda detail: {}),
    ],
)
def test_it_changes_with_the_contract(monkeypatch: pytest.MonkeyPatch, where: object, name: str, value: object) -> None:
    before = fingerprint()
    fingerprint.cache_clear()
    monkeypatch.setattr(where, name, value)
    assert fingerprint() != before

"""A key's text and record: parsed strictly, and never shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.auth.api_key import KeyGrant, KeyRecord, KeyText
from app.pricing.limits import Limits

KEY = KeyText.new()
TEXT = KEY.reveal()


def record(**grant: object) -> KeyRecord:
    return KeyRecord(
        id=KEY.id,
        digest=KEY.digest(),
        grant=KeyGrant.model_validate({"name": "ann"} | grant),
        created=datetime(2026, 11, 25, tzinfo=UTC),
        created_by="local",
    )


def test_a_key_round_trips() -> None:
    assert KeyText.parse(TEXT) == KEY
    assert f"cvk_{KEY.id}_{KEY.secret}" == TEXT
    assert (len(KEY.id), len(KEY.secret)) == (12, 43)


@pytest.mark.parametrize("shown", [repr(KEY), str(KEY), repr(record()), str(record())], ids=range(4))
def test_representations_contain_neither_secret_nor_hash(shown: str) -> None:
    assert KEY.id in shown
    assert KEY.secret not in shown
    assert KEY.digest() not in shown


FRAGMENTS = st.sampled_from(["cvk_", "CVK_", "_", KEY.id, KEY.secret, TEXT, "\n", "\0", " ", "٣", "é", "\ud800", "%5f"])
HOSTILE = st.one_of(
    st.text(max_size=200),
    st.lists(st.one_of(FRAGMENTS, st.text(max_size=3)), max_size=8).map("".join),
    st.builds(
        lambda at, cut, put: TEXT[:at] + put + TEXT[at + cut :],
        st.integers(0, len(TEXT)),
        st.integers(0, 3),
        st.text(max_size=3),
    ),
)


@given(HOSTILE)
def test_other_texts_are_not_this_key_and_raise_nothing(text: str) -> None:
    parsed = KeyText.parse(text)
    assert (parsed == KEY) == (text == TEXT)
    if parsed is not None:
        assert parsed.reveal() == text
        assert (parsed.digest() == KEY.digest()) == (parsed.secret == KEY.secret)


def test_a_key_has_its_limits_or_the_defaults() -> None:
    defaults = Limits(60, 9000, 10**9)
    assert record().principal(defaults).limits == defaults
    own = record(requests_per_minute=5, nano_usd_per_day=0)
    assert own.principal(defaults).limits == Limits(5, 9000, 0)
    assert own.principal(Limits()).limits == Limits(5, None, 0)


def test_a_key_has_the_scope_it_was_issued_for() -> None:
    principal = record(backends=["gpt-4"], admin=True).principal(Limits())
    assert (principal.id, principal.name, principal.backends, principal.admin) == (KEY.id, "ann", {"gpt-4"}, True)
    assert record().principal(Limits()).backends is None


@pytest.mark.parametrize("unknown", [{"until": "2027-01-01"}, {"terms": {"name": "ann", "tickers": ["A"]}}])
def test_a_record_with_an_unknown_field_is_refused(unknown: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        KeyRecord.model_validate(record().model_dump(mode="json") | unknown)
    assert KEY.digest() not in str(refused.value)

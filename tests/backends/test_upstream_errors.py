"""The mapping of a server's failures, and Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.backends.dialects import VLLM, openai_dialect
from app.backends.upstream_errors import invalid_response, map_status, parse_retry_after, unreachable
from app.errors import BackendUnavailable

OPENAI = openai_dialect("gpt-4.1")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2),
        ("0.5", 0.5),
        ("-3", 0),
        ("nan", 0),
        ("inf", 3600),
        ("86400", 3600),
        ("soon", None),
        ("", None),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
    ],
)
def test_seconds(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=40)
    for value in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None))):
        seconds = parse_retry_after(value)
        assert seconds is not None
        assert 35 < seconds <= 40


def test_no_header() -> None:
    assert parse_retry_after(None) is None


@pytest.mark.parametrize(
    ("status", "transient", "server_fault"),
    [
        *((status, False, False) for status in (302, 400, 401, 404, 413)),
        (429, True, False),
        *((status, True, True) for status in (500, 502, 503)),
    ],
)
def test_transient_failures_and_server_faults(status: int, transient: bool, server_fault: bool) -> None:
    failure = map_status("gpt-4", OPENAI, status)
    assert (failure.transient, failure.failover, failure.server_fault) == (transient, transient, server_fault)
    assert not failure.outcome_unknown


def test_a_spent_quota_is_not_transient() -> None:
    failure = map_status("gpt-4", OPENAI, 429, 1.0, b'{"error":{"code":"insufficient_quota"}}')
    assert not failure.transient
    assert failure.error.retry_after is None


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"null", b'{"error":"no"}', b'{"error":{"code":[]}}', b"\xff"])
def test_a_refusal_in_another_format(document: bytes) -> None:
    failure = map_status("gpt-4", OPENAI, 429, 7.0, document)
    assert isinstance(failure.error, BackendUnavailable)
    assert failure.error.retry_after == 7


def test_a_server_s_message_is_in_no_repr_and_no_detail() -> None:
    failure = map_status("mistral", VLLM, 400, None, b"no for sk-secret")
    assert "sk-secret" not in repr(failure) + str(failure) + repr(failure.error)
    assert failure.document == b"no for sk-secret"


def test_an_invalid_response_has_an_unknown_outcome() -> None:
    assert invalid_response("mistral").outcome_unknown
    assert not unreachable("mistral").outcome_unknown

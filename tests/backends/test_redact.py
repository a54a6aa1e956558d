"""The redaction of a server's error document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.redact import redact_error

KEY = "the/operator's+key=="


def message(document: bytes) -> str:
    parsed: str = json.loads(redact_error(document, KEY, "refused"))["error"]["message"]
    return parsed


def test_an_error_keeps_its_fields() -> None:
    error = {"message": "temperature: too hot", "type": "invalid_request_error", "param": "temperature", "code": None}
    assert json.loads(redact_error(json.dumps({"error": error}).encode(), KEY, "refused")) == {"error": error}


def test_an_error_in_vllm_s_older_format() -> None:
    document = {"object": "error", "message": "too long", "type": "BadRequestError", "param": None, "code": 400}
    parsed = json.loads(redact_error(json.dumps(document).encode(), KEY, "refused"))
    assert parsed == {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 1}}', b"\xff"])
def test_an_unreadable_document_is_replaced(document: bytes) -> None:
    parsed = json.loads(redact_error(document, KEY, "gpt-4 refused the request (HTTP 400)"))
    assert parsed["error"]["message"] == "gpt-4 refused the request (HTTP 400)"
    assert parsed["error"]["type"] == "invalid_request_error"


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_key_is_never_shown(before: str, after: str) -> None:
    for field in ("message", "type", "param", "code"):
        error = {"message": "no", field: before + KEY + after}
        assert KEY not in json.dumps(json.loads(redact_error(json.dumps({"error": error}).encode(), KEY, "x")))


@pytest.mark.parametrize(
    "secret", ["sk-proj-abc123", "sk-ab***yz", "org-AbCdEf123456", "proj_AbCdEf", "Bearer abc.def", "bearer abc"]
)
def test_text_that_looks_like_a_key_is_redacted(secret: str) -> None:
    assert secret not in message(json.dumps({"error": {"message": f"no for {secret}, sorry"}}).encode())


def test_plain_words_are_unchanged() -> None:
    parsed = "risk-free organisation-wide desk-top"
    assert message(json.dumps({"error": {"message": parsed}}).encode()) == parsed

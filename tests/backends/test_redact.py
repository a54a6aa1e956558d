"""What is passed on of a refusal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.redact import redact_error

KEY = "the/operator's+key=="


def message(document: bytes) -> str:
    said: str = json.loads(redact_error(document, KEY, "refused"))["error"]["message"]
    return said


def test_an_error_keeps_its_fields() -> None:
    error = {"message": "temperature: too hot", "type": "invalid_request_error", "param": "temperature", "code": None}
    assert json.loads(redact_error(json.dumps({"error": error}).encode(), KEY, "refused")) == {"error": error}


def test_an_error_in_vllm_s_older_form() -> None:
    document = {"object": "error", "message": "too long", "type": "BadRequestError", "param": None, "code": 400}
    said = json.loads(redact_error(json.dumps(document).encode(), KEY, "refused"))
    assert said == {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 1}}', b"\xff"])
def test_what_cannot_be_read_is_not_passed_on(document: bytes) -> None:
    said = json.loads(redact_error(document, KEY, "gpt-4 refused the request (HTTP 400)"))
    assert said["error"]["message"] == "gpt-4 refused the request (HTTP 400)"
    assert said["error"]["type"] == "invalid_request_error"


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_key_is_never_passed_on(before: str, after: str) -> None:
    for field in ("message", "type", "param", "code"):
        error = {"message": "no", field: before + KEY + after}
        assert KEY not in json.dumps(json.loads(redact_error(json.dumps({"error": error}).encode(), KEY, "x")))


@pytest.mark.parametrize(
    "secret", ["sk-proj-abc123", "sk-ab***yz", "org-AbCdEf123456", "proj_AbCdEf", "Bearer abc.def", "bearer abc"]
)
def test_nor_is_what_looks_like_one(secret: str) -> None:
    assert secret not in message(json.dumps({"error": {"message": f"no for {secret}, sorry"}}).encode())


def test_plain_words_are_left() -> None:
    said = "risk-free organisation-wide desk-top"
    assert message(json.dumps({"error": {"message": said}}).encode()) == said

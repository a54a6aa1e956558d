"""Logs: one JSON object per line, with the request's id and without secrets. Each test logs in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from app.telemetry.logs import HIDDEN

SECRET = "a-secret-of-no-known-shape"
SETUP = f"""
import logging.config
from app.telemetry.logs import log_config, request_id
logging.config.dictConfig(log_config([{SECRET!r}]))
log = logging.getLogger("app.test")
"""


def logged(script: str) -> list[dict[str, Any]]:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETUP + script], capture_output=True, text=True, check=True
    )
    assert process.stdout == ""
    return [json.loads(line) for line in process.stderr.splitlines()]


def test_a_record_is_one_json_object() -> None:
    (line,) = logged(
        """
request_id.set("this-one")
log.info("%d of %s", 3, "these", extra={"path": "/v1/backends", "status": 200})
log.debug("below the level")
"""
    )
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "app.test",
        "message": "3 of these",
        "request_id": "this-one",
        "path": "/v1/backends",
        "status": 200,
    }


def test_a_traceback_is_part_of_its_line() -> None:
    (line,) = logged(
        r"""
try:
    raise RuntimeError("two\nlines")
except RuntimeError:
    log.exception("failed")
"""
    )
    assert line["level"] == "error"
    assert "RuntimeError: two\nlines" in line["trace"]


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        "sk-proj-abcdefgh12345678",
        "Bearer opaque.token-123",
        "x-api-key: opaque.token-123",
        "redis://user:opaque.token-123@store:6379",
        "/v1/keys/cvk_0123456789ab_opaque-token-123",
    ],
)
def test_no_line_holds_a_secret(secret: str) -> None:
    lines = logged(
        f"""
secret = {secret!r}
log.warning(f"as text {{secret}}")
log.warning("as an argument %s", secret)
log.warning("as an extra", extra={{"given": secret}})
try:
    raise ValueError(secret)
except ValueError:
    log.exception("as an exception")
"""
    )
    assert len(lines) == 4
    for line in lines:
        written = json.dumps(line)
        assert HIDDEN in written
        assert not any(part in written for part in (SECRET, "abcdefgh12345678", "opaque.token-123", "opaque-token"))


def test_a_url_without_a_password_is_unchanged() -> None:
    (line,) = logged('log.info("at http://127.0.0.1:8080/docs")')
    assert line["message"] == "at http://127.0.0.1:8080/docs"


def test_libraries_log_no_requests() -> None:
    (line,) = logged(
        """
for name in ("uvicorn.access", "openai", "httpx2", "yfinance"):
    logging.getLogger(name).info("a request")
log.info("done")
"""
    )
    assert line["message"] == "done"

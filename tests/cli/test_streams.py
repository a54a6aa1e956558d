"""Encodings, control characters, write errors and tracebacks of the command, as a process in a hostile environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.base import Backend
from app.cli import streams
from app.cli.question import read_batch
from app.contract.completion import BackendName
from app.errors import InvalidRequest
from app.main import create_app
from app.settings.gateway import Settings
from app.settings.secrets import known_secrets
from app.telemetry.logs import SecretFilter
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

COMMAND = [sys.executable, "-m", "app.cli.main"]


@pytest.fixture(scope="module")
def url(store_url: str) -> Iterator[str]:
    backends: dict[BackendName, Backend] = {name: CountingBackend(name) for name in ("mistral", "gpt-4")}
    settings = Settings.model_validate({"market": "sample"})
    with served(create_app(settings, opened_with(f"{store_url}?db=4", backends)), lifespan="on") as url:
        yield url


def environment(url: str, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "CONVICTION_URL": url, **more}


def test_a_full_disk_does_not_lose_a_paid_answer(url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [*COMMAND, "recommend", "AAPL", "--as-of", "2012-05-10", "--json"]
        done = subprocess.run(command, env=environment(url), stdout=full, stderr=subprocess.PIPE, timeout=60)
    answer, _, message = done.stderr.decode().rpartition("conviction: ")
    assert json.loads(answer)["ticker"] == "AAPL"
    assert "No space left on device" in message
    assert done.returncode == 4
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_batch_quietly(url: str, tmp_path: Path) -> None:
    file = tmp_path / "tickers"
    file.write_text("AAPL\n" * 300)
    command = f"{' '.join(COMMAND)} recommend --batch {file} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(url), capture_output=True, timeout=60)
    first, status = done.stdout.splitlines()
    assert "index" in json.loads(first)
    assert (status, done.stderr) == (b"141", b"")


def test_any_text_is_written_to_a_terminal_of_another_encoding() -> None:
    script = "from app.cli import streams; streams.prepare(); streams.write('a \\u2192 \\ud800 b')"
    env = environment("", PYTHONIOENCODING="latin-1")
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"a \\u2192 \\ud800 b\n")


def test_a_closed_standard_output_does_not_lose_text() -> None:
    script = "from app.cli import streams; streams.prepare(); streams.write('paid')"
    command = f'{sys.executable} -c "{script}" >&-'
    done = subprocess.run(["bash", "-c", command], env=environment(""), capture_output=True, timeout=60)
    assert done.stderr.startswith(b"paid\n")


def test_control_characters_become_visible() -> None:
    hostile = "a\x1b]0;title\x07\x9b2J\r\x00\x7f\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR}b\n\tc"
    assert streams.visible(hostile) == "a\\x1b]0;title\\x07\\x9b2J\\r\\x00\\x7f\\u202e\\u2028b\n\tc"


def test_a_stray_byte_spoils_one_question_of_a_batch(tmp_path: Path) -> None:
    file = tmp_path / "batch"
    file.write_bytes(b'\xef\xbb\xbfAAPL\r\nA\xffB\n{"ticker": "M\xfcSFT"}\n{"ticker": "\xe2\x80\xa8"}\n')
    tickers = [question["ticker"] for question in read_batch(str(file))]
    assert tickers == ["AAPL", "A\ufffdB", "M\ufffdSFT", "\u2028"]


def test_utf_16_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "batch"
    file.write_text("AAPL", "utf-16")
    with pytest.raises(InvalidRequest, match="UTF-16"):
        read_batch(str(file))


def test_deep_json_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "batch"
    file.write_text("[" * 200_000)
    with pytest.raises(InvalidRequest, match="is not JSON"):
        read_batch(str(file))


def test_no_traceback_shows_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    script = """
import os
from app.cli import streams
streams.prepare()
raise ValueError(f"Invalid header value {os.environ['CONVICTION_API_KEY']!r}, from-a-file, sk-0123456789")
"""
    env = environment("", CONVICTION_API_KEY="hush-hush-hush\n", REDIS_PASSWORD_FILE=str(file))
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"Invalid header value" in done.stderr
    for secret in (b"hush", b"from-a-file", b"sk-0123456789"):
        assert secret not in done.stderr.splitlines()[-1]


def test_a_key_of_the_keys_file_is_a_known_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("desk one: 0123456789abcdef\nfedcba9876543210\n")
    monkeypatch.setenv("CONVICTION_API_KEYS_FILE", str(file))
    redacted = SecretFilter(known_secrets()).redact("/v1/0123456789abcdef/fedcba9876543210 of desk one")
    assert redacted == "/v1/[hidden]/[hidden] of desk one"

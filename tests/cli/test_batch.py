"""`conviction recommend --batch FILE`: a line of JSON per question, a progress bar, and the exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import pytest

from app.backends.base import Backend
from app.cli import main as cli
from app.cli import recommend
from app.cli.question import read_batch
from app.contract.completion import BackendName
from app.contract.fingerprint import EXAMPLE
from app.errors import BackendError
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import EXAMPLE_BODY, CountingBackend, opened_with

TICKERS = ("AAPL", "IBM")


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend("mistral")


@pytest.fixture
def url(own_store_url: str, backend: CountingBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway, and its URL in the client's environment."""
    backends: dict[BackendName, Backend] = {"mistral": backend, "gpt-4": CountingBackend("gpt-4")}
    settings = Settings.model_validate({"market": "sample", "cache_s": 0})
    with served(create_app(settings, opened_with(own_store_url, backends)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        yield url


@pytest.fixture
def own_store_url(store_url: str) -> str:
    return f"{store_url}?db=4"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Return the exit status, the lines on standard output, and standard error."""
    status = cli.main(["recommend", *arguments])
    output = capsys.readouterr()
    return status, [json.loads(line) for line in output.out.splitlines()], output.err


def file_of(folder: Path, text: str) -> str:
    file = folder / "questions"
    file.write_text(text, "utf-8")
    return str(file)


FORMS = {
    "tickers": "AAPL\n\n  IBM  \n",
    "bodies": '{"ticker": "AAPL", "as_of": "2012-05-10"}\nIBM',
    "an array": json.dumps([{"ticker": "AAPL"}, {"ticker": "IBM"}], indent=2),
}


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_any_form_is_answered_a_line_a_question(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines, errors = run(capsys, "--batch", file_of(tmp_path, FORMS[form]), "--brief")
    assert (status, errors) == (0, "")
    assert {line["index"]: line["answer"]["ticker"] for line in lines} == dict(enumerate(TICKERS))
    assert {line["answer"]["analysis"] for line in lines} == {None}
    if form == "bodies":
        assert {line["answer"]["as_of"] for line in lines if line["index"] == 0} == {"2012-05-10"}


@pytest.mark.usefixtures("url")
def test_standard_input_and_the_backend_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"AAPL")))
    status, [line], _ = run(capsys, "--batch", "-", "--backend", "gpt-4")
    assert (status, line["answer"]["backend"]) == (0, "gpt-4")
    assert line["answer"]["analysis"]


@pytest.mark.usefixtures("url")
def test_one_that_fails_is_a_line_and_an_exit_status_of_1(
    tmp_path: Path, backend: CountingBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.script = [BackendError("failed")]
    status, lines, _ = run(
        capsys, "--batch", file_of(tmp_path, json.dumps([EXAMPLE_BODY, "X", EXAMPLE_BODY | {"ticker": "A"}]))
    )
    assert status == 1
    assert sorted(line["status"] for line in lines) == [200, 422, 502]
    assert {line["problem"]["code"] for line in lines if "problem" in line} == {"invalid_request", "backend_error"}


@pytest.mark.usefixtures("url")
def test_a_long_file_is_asked_in_parts(
    tmp_path: Path, backend: CountingBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recommend, "MAX_ITEMS", 3)
    bodies = [{"metrics": EXAMPLE.document(), "ticker": f"T{number}"} for number in range(8)]
    _, lines, _ = run(capsys, "--batch", file_of(tmp_path, json.dumps(bodies)), "--brief")
    assert {line["index"]: line["answer"]["ticker"] for line in lines} == {n: f"T{n}" for n in range(8)}


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no questions"),
        ("\n \n", "contains no questions"),
        ("[]", "contains no questions"),
        ("[1, ", "is not JSON"),
        ('AAPL\n{"ticker": ', "line 2, is not JSON"),
    ],
)
def test_a_file_of_another_form_is_wrong_usage(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines, errors = run(capsys, "--batch", file_of(tmp_path, text))
    assert (status, lines) == (2, [])
    assert message in errors


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for file in (str(tmp_path / "nothing"), str(tmp_path), str(binary)):
        status, _, errors = run(capsys, "--batch", file)
        assert status == 2
        assert "cannot be read" in errors


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read_batch(file_of(tmp_path, "\ufeffAAPL")) == [{"ticker": "AAPL"}]


# Gateways


def test_no_gateway_exits_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:1")
    status, lines, errors = run(capsys, "--batch", file_of(tmp_path, "AAPL"))
    assert (status, lines) == (3, [])
    assert "no gateway answers" in errors


@pytest.mark.usefixtures("url")
def test_a_refusal_of_all_of_it_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recommend, "MAX_ITEMS", 2000)
    status, lines, errors = run(capsys, "--batch", file_of(tmp_path, "AAPL\n" * 1001))
    assert (status, lines) == (1, [])
    assert "invalid_request" in errors


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
LINE = b'{"index":0,"status":200,"answer":{}}\n'
CUT = {
    "in a chunk": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (len(LINE) + 5, LINE),
    "between chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(LINE), LINE),
    "as if complete": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LINE), LINE),
    "without a length": b"Connection: close\r\n\r\n" + LINE,
}


@pytest.mark.parametrize("how", CUT)
def test_a_truncated_response_exits_3_after_the_lines_it_had(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Cut(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(HEAD + CUT[how])

    with TCPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("CONVICTION_URL", f"http://127.0.0.1:{server.server_address[1]}")
        status, lines, errors = run(capsys, "--batch", file_of(tmp_path, "AAPL\nIBM"))
    assert status == 3
    assert [line["index"] for line in lines] in ([0], [])
    assert "closed the connection" in errors


# The bar


def test_a_terminal_shows_the_progress(url: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, "AAPL\nNOPE\nIBM")
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "app.cli", "recommend", "--brief", "--batch", file]
    process = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=secondary, timeout=60, env=os.environ | {"CONVICTION_URL": url}
    )
    os.close(secondary)
    shown = os.read(primary, 1 << 16).decode()
    os.close(primary)
    assert process.returncode == 1
    assert len(process.stdout.splitlines()) == 3
    assert "3/3, 1 failed" in shown
    assert "[" + "#" * 30 + "]" in shown
    assert "[##########...................." in shown

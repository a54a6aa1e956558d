"""The Lambda function, called directly and through its runtime, with a double of SageMaker's runtime."""

from __future__ import annotations

import base64
import io
import json
import queue
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from app.backends.dialects import SAGEMAKER
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.prompt import messages
from app.contract.recommendation import canonical
from app.contract.rule_based_analyst import answer
from deploy.aws.function_code import FILES, SOURCE, code

from ..backends.sagemaker_runtime import ENDPOINT, REGION, SECRET_KEY, Runtime, create_runtime, credentials
from ..conftest import StandIn, served

MODEL = f"stand-in/mistral-{fingerprint()}"
BETWEEN = b"\0" * 8
TIMEOUT_S = 60
BUFFERED_S = 29
"""Seconds that API Gateway waits for a whole answer."""


def body(stream: bool, **changes: Any) -> dict[str, Any]:
    asked = SAGEMAKER.request("any", messages(EXAMPLE, "SNPS", "brief"), "brief") | {"stream": stream}
    if not stream:
        del asked["stream_options"]
    return asked | changes


def event(asked: Any, encoded: bool = False) -> dict[str, Any]:
    """Return an event of API Gateway's proxy integration."""
    text = asked if isinstance(asked, str) else json.dumps(asked)
    return {
        "httpMethod": "POST",
        "path": "/chat/completions",
        "body": base64.b64encode(text.encode()).decode() if encoded else text,
        "isBase64Encoded": encoded,
    }


@pytest.fixture(scope="module")
def running(stand_in_server: StandIn) -> Iterator[tuple[Runtime, str]]:
    double = Runtime(stand_in_server)
    with served(create_runtime(double), lifespan="on") as origin:
        yield double, origin


@pytest.fixture
def runtime(running: tuple[Runtime, str], stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    double, origin = running
    double.forget()
    for name, value in credentials():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "STREAM"):
        monkeypatch.delenv(name, raising=False)
    given = {
        "ENDPOINT": ENDPOINT,
        "MODEL": MODEL,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": origin,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return double


@pytest.fixture
def relay(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the module as Lambda does, without a cached client."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    spec = util.spec_from_file_location("relay", SOURCE / "relay.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("encoded", [False, True])
def test_the_input_goes_to_the_endpoint_and_the_answer_back(encoded: bool, relay: ModuleType, runtime: Runtime) -> None:
    said = relay.handler(event(body(False), encoded), None)
    assert (said["statusCode"], said["headers"]["Content-Type"]) == (200, "application/json")
    document = json.loads(said["body"])
    assert document["model"] == MODEL
    assert document["choices"][0]["message"]["content"] == canonical(answer(EXAMPLE, "brief"))
    assert document["usage"]["completion_tokens"] > 0
    assert runtime.requests == ["invocations"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("no json", "the body is no JSON"),
        ("", "the body is no JSON"),
        ("[]", "the body must be an object with messages"),
        ('{"messages": 1}', "the body must be an object with messages"),
        ('{"messages": [], "stream": true}', "stream: answers are not streamed here"),
    ],
)
def test_an_invalid_request_is_refused_without_a_call(
    asked: str, said: str, relay: ModuleType, runtime: Runtime
) -> None:
    answered = relay.handler(event(asked), None)
    assert answered["statusCode"] == 400
    assert json.loads(answered["body"])["error"]["message"] == said
    assert runtime.requests == []


FAILED = [
    ("throttled", 429, "too many requests"),
    ("loading", 503, "the model is still being loaded"),
    ("unavailable", 503, "the model cannot be asked now"),
    ("denied", 502, "the model cannot be asked"),
    ("expired", 502, "the model cannot be asked"),
    ("internal", 502, "the model cannot be asked"),
    ("timed-out", 502, "the model failed"),
]


@pytest.mark.parametrize(("failing", "status", "said"), FAILED, ids=[failing for failing, _, _ in FAILED])
def test_aws_errors_become_statuses(
    failing: str, status: int, said: str, relay: ModuleType, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.failing.append(failing)
    answered = relay.handler(event(body(False)), None)
    assert (answered["statusCode"], json.loads(answered["body"])["error"]["message"]) == (status, said)
    assert ("Retry-After" in answered["headers"]) == (status in (429, 503))
    assert runtime.failing == []
    assert len(runtime.requests) == 1, "asked once: a question that is sent again is answered again"
    logged = capsys.readouterr().out
    assert json.loads(logged)["error"]
    assert not any(secret in logged + answered["body"] for secret in ("hush", SECRET_KEY, "123456789012"))


def test_the_model_s_own_refusal_is_passed_on(relay: ModuleType) -> None:
    answered = relay.handler(event(body(False, temperature=1)), None)
    assert answered["statusCode"] == 400
    assert json.loads(answered["body"])["error"]["message"] == "the temperature must be 0"


def test_a_slow_model_times_out_before_api_gateway(
    relay: ModuleType, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relay.READ_S < BUFFERED_S
    monkeypatch.setattr(relay, "READ_S", 0.5)
    stand_in.fail("timeout")
    answered = relay.handler(event(body(False)), None)
    assert answered["statusCode"] == 504
    assert json.loads(answered["body"])["error"]["message"] == "the model did not answer in time"


class LambdaApi:
    """Lambda's Runtime API as in its reference: sends events and receives answers chunk by chunk."""

    def __init__(self) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.taken: queue.Queue[tuple[str, dict[str, str], list[bytes]]] = queue.Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == "/2018-06-01/runtime/invocation/next"
                self._answer(200, json.dumps(api.events.get()).encode(), {"Lambda-Runtime-Aws-Request-Id": "id-1"})

            def do_POST(self) -> None:
                chunks = list(self._chunks())
                api.taken.put((self.path, dict(self.headers), chunks))
                self._answer(202, b"{}", {})

            def _chunks(self) -> Iterator[bytes]:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    yield self.rfile.read(int(self.headers["Content-Length"]))
                    return
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    assert self.rfile.readline() == b"\r\n"
                assert self.rfile.readline() == b"\r\n"

            def _answer(self, status: int, document: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(document))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(self, asked: dict[str, Any]) -> tuple[str, dict[str, str], list[bytes]]:
        self.events.put(asked)
        return self.taken.get(timeout=TIMEOUT_S)


@pytest.fixture
def started(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaApi]:
    """Unpack the archive and start its wrapper as Lambda does."""
    with zipfile.ZipFile(io.BytesIO(code())) as archive:
        archive.extractall(tmp_path)
        modes = {each.filename: each.external_attr >> 16 for each in archive.infolist()}
    assert modes == {"relay.py": 0o644, "stream.py": 0o644, "wrapper": 0o755}
    api = LambdaApi()
    given = {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "STREAM": "1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(["sh", str(tmp_path / "wrapper"), sys.executable, "/var/runtime/bootstrap.py"])
    yield api
    process.terminate()
    process.wait(TIMEOUT_S)
    api.server.shutdown()
    api.server.server_close()


def test_answers_are_sent_on_as_they_are_written(started: LambdaApi, runtime: Runtime, stand_in: StandIn) -> None:
    path, headers, chunks = started.ask(event(body(True)))
    assert path == "/2018-06-01/runtime/invocation/id-1/response"
    assert headers["Lambda-Runtime-Function-Response-Mode"] == "streaming"
    assert headers["Content-Type"] == "application/vnd.awslambda.http-integration-response"
    prelude, _, first = chunks[0].partition(BETWEEN)
    assert json.loads(prelude)["statusCode"] == 200
    assert json.loads(prelude)["headers"]["Content-Type"] == "text/event-stream"
    assert first == b""
    stand_in.fail("slow")
    _, _, chunks = started.ask(event(body(True)))
    assert len(chunks) > 5, "a slow answer comes in many pieces"
    streamed = b"".join(chunks[1:]).decode()
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"])
    assert text == canonical(answer(EXAMPLE, "brief"))
    assert streamed.endswith("data: [DONE]\n\n")
    _, _, whole = started.ask(event(body(False)))
    assert json.loads(b"".join(whole).partition(BETWEEN)[2])["model"] == MODEL
    assert runtime.requests == ["invocations-response-stream"] * 2 + ["invocations"]


def test_a_broken_stream_is_reported_and_the_next_request_answered(started: LambdaApi, runtime: Runtime) -> None:
    for failing in ("stream-error", "broken-frame"):
        runtime.failing.append(failing)
        _, _, chunks = started.ask(event(body(True)))
        said = b"".join(chunks).partition(BETWEEN)[2]
        assert b"the model broke its answer off" in said
        assert b"[DONE]" not in said
    runtime.failing.append("throttled")
    _, _, chunks = started.ask(event(body(True)))
    assert json.loads(b"".join(chunks).partition(BETWEEN)[0])["statusCode"] == 429
    path, _, chunks = started.ask({"body": 5})
    assert path.endswith("/id-1/error")
    assert json.loads(b"".join(chunks))["errorMessage"] == "unforeseen"
    _, _, chunks = started.ask(event(body(True)))
    assert b"".join(chunks).endswith(b"data: [DONE]\n\n")


def test_the_archive_is_the_same_for_the_same_files() -> None:
    assert code() == code()
    with zipfile.ZipFile(io.BytesIO(code())) as archive:
        assert archive.namelist() == list(FILES)
        assert archive.read("relay.py") == (SOURCE / "relay.py").read_bytes()

"""The command's output and exit status."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backends.base import Backend
from app.cli import main as cli
from app.contract.completion import BackendName
from app.contract.fingerprint import EXAMPLE
from app.errors import BackendUnavailable
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, completion, opened_with

KEY = "0123456789abcdef"


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend("mistral")


@pytest.fixture
def url(store_url: str, backend: CountingBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway with keys; its URL and a key are in the client's environment."""
    keys = tmp_path / "keys"
    keys.write_text(f"cli:{KEY}")
    keys.chmod(0o600)
    backends: dict[BackendName, Backend] = {"mistral": backend, "gpt-4": CountingBackend("gpt-4")}
    settings = Settings.model_validate(
        {"market": "sample", "api_keys_file": keys, "cache_s": 0, "cascade_threshold": 0.7}
    )
    with served(create_app(settings, opened_with(store_url, backends)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        monkeypatch.setenv("CONVICTION_API_KEY", KEY)
        yield url


@pytest.fixture
def metrics(tmp_path: Path) -> str:
    file = tmp_path / "snps.json"
    file.write_text(json.dumps(EXAMPLE.document()))
    return str(file)


@pytest.mark.usefixtures("url")
def test_a_ticker_is_answered_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "aapl", "--as-of", "2012-05-10"]) == 0
    output = capsys.readouterr().out
    first = output.splitlines()[0]
    assert first.split(",")[0] in ("BUY", "SELL", "HOLD")
    assert "/10" in first
    assert "AAPL as of 2012-05-10" in first
    assert "given the metrics: buy 70%  sell 10%  hold 20%" in output
    assert "Evidence: " in output
    assert "by mistral (double-1)" in output
    assert "400 + 11 tokens" in output
    assert "figures from sample; simulated: options" in output
    assert "not investment advice" in output


def test_metrics_come_from_a_file_and_go_to_the_backend_named(
    url: str, metrics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["recommend", "--metrics", metrics, "--backend", "gpt-4", "--brief", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["backend"], answer["analysis"]) == ("gpt-4", None)
    assert answer["metrics"] == EXAMPLE.document()


@pytest.mark.usefixtures("url")
def test_another_answers_where_the_backend_is_away(
    backend: CountingBackend, metrics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.script = [BackendUnavailable("away")]
    assert cli.main(["recommend", "--metrics", metrics, "--fallback", "gpt-4"]) == 0
    assert "by gpt-4 in mistral's place" in capsys.readouterr().out


@pytest.mark.usefixtures("url")
def test_a_stand_in_is_called_one(backend: CountingBackend, capsys: pytest.CaptureFixture[str]) -> None:
    backend.script = [completion('{"action":"buy","conviction":7}', stand_in=True, probabilities=None)]
    assert cli.main(["recommend", "AAPL", "--brief"]) == 0
    assert "a stand-in, not a model" in capsys.readouterr().out


def test_a_cascade_explains_its_decision(
    url: str, backend: CountingBackend, metrics: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.script = [completion('{"action":"buy","conviction":7}')] * 2
    assert cli.main(["recommend", "--metrics", metrics, "--backend", "cascade", "--brief"]) == 0
    assert "cascade: 70% against a threshold of 70%, kept\n" in capsys.readouterr().out
    unsure = {"buy": 0.4, "sell": 0.3, "hold": 0.3}
    backend.script = [completion('{"action":"buy","conviction":7}', probabilities=unsure)]
    assert cli.main(["recommend", "--metrics", metrics, "--backend", "cascade"]) == 0
    output = capsys.readouterr().out
    assert "cascade: 40% against a threshold of 70%, passed on; asking first: 0." in output
    assert "by gpt-4" in output


@pytest.mark.usefixtures("url")
def test_a_refusal_says_why_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "NOPE"]) == 1
    output = capsys.readouterr().err
    assert "unknown_ticker" in output
    assert "NOPE" in output
    assert "request " in output


@pytest.mark.usefixtures("url")
def test_a_wrong_key_exits_1_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONVICTION_API_KEY", "wrong-key-0123456789")
    assert cli.main(["recommend", "AAPL"]) == 1
    output = capsys.readouterr().err
    assert "unauthorized" in output
    assert "wrong-key" not in output


@pytest.mark.parametrize(
    "arguments",
    [["recommend"], ["recommend", "--metrics", "/nothing.json"], ["recommend", "--metrics", __file__]],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith("conviction: ")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["recommend", "A", "--backend", "gpt-5"]])
def test_what_the_parser_refuses_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: conviction" in capsys.readouterr().err


def test_no_gateway_exits_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:1")
    assert cli.main(["recommend", "AAPL"]) == 3
    assert "no gateway answers at http://127.0.0.1:1" in capsys.readouterr().err


def test_a_server_that_is_no_gateway_exits_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("CONVICTION_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); "
                "c, _ = s.accept(); c.recv(65536); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi')",
                str(listener.fileno()),
            ],
            pass_fds=[listener.fileno()],
        )
        assert cli.main(["recommend", "AAPL"]) == 3
        process.wait(5)
    assert "is not a gateway" in capsys.readouterr().err


def test_a_proxy_is_not_asked_about_this_machine(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert cli.main(["recommend", "AAPL", "--brief"]) == 0


@pytest.mark.parametrize("command", ["stand-in", "up", "keys"])
def test_other_commands_are_passed_their_arguments(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[list[str]] = []
    module, name = {
        "stand-in": ("app.stand_in.command", "run"),
        "up": ("app.supervisor.command", "run"),
        "keys": ("app.cli.keys", "run"),
    }[command]
    monkeypatch.setattr(importlib.import_module(module), name, lambda argv: passed.append(argv) or 7)
    assert cli.main([command, "--port", "1"]) == 7
    assert passed == [["--port", "1"]]


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    output = capsys.readouterr().out
    assert all(command in output for command in ("up", "serve", "recommend", "keys", "stand-in", "exit status"))


def test_a_blind_question_says_so(
    url: str, metrics: str, backend: CountingBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["recommend", "SNPS", "--metrics", metrics, "--brief", "--blind"]) == 0
    assert "SNPS (not in the prompt) as of 2024-03-08" in capsys.readouterr().out
    assert "SNPS" not in backend.asked[0][0][0]["content"]


def test_a_batch_states_blind_in_its_questions(metrics: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "--batch", metrics, "--blind"]) != 0
    assert "--batch FILE excludes TICKER, --metrics, --as-of and --blind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "named"), [("recomend", ["recommend"]), ("key", ["keys"]), ("compar", ["compare"]), ("zzz", cli.COMMANDS)]
)
def test_a_mistyped_command_gets_suggestions(given: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([given, "--help"])
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert given in last
    assert all(name in last for name in named)

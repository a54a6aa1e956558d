"""`conviction replay` with a running gateway and its decision log in a real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app import recommend
from app.backends.base import Backend
from app.cli import client, replay
from app.cli import main as cli
from app.contract.completion import BackendName
from app.contract.prompt import PROMPT_VERSION, Detail, Message
from app.deadline import Deadline
from app.errors import BackendError, BackendUnavailable
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import EXAMPLE_BODY, CountingBackend, ScriptedStream, completion, opened_with

Json = dict[str, Any]
Capture = pytest.CaptureFixture[str]
Backends = dict[BackendName, "PausingBackend"]

BUY, SELL, HOLD = (
    completion(json.dumps({"action": action, "conviction": conviction}))
    for action, conviction in (("buy", 7), ("sell", 3), ("hold", 5))
)
STOCKS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")


@dataclass
class PausingBackend(CountingBackend):
    """A backend that does not complete answers once it was asked `pause_after` times."""

    pause_after: int | None = None
    never: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> ScriptedStream:
        self.go = self.never if self.pause_after is not None and len(self.asked) >= self.pause_after else None
        return super().answer(messages, detail, deadline)


@pytest.fixture
def backends() -> Backends:
    return {"mistral": PausingBackend("mistral"), "gpt-4": PausingBackend("gpt-4", model="other-1")}


@pytest.fixture
def url(
    request: pytest.FixtureRequest,
    own_store: str,
    patient_gateway: None,
    tmp_path: Path,
    backends: Backends,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A gateway with a cache and a decision log, and its URL in the client's environment."""
    both: dict[BackendName, Backend] = {**backends}
    settings = Settings.model_validate({"market": "sample", "store_dir": tmp_path / "store"})
    with served(create_app(settings, opened_with(own_store, both)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        monkeypatch.delenv("CONVICTION_API_KEY", raising=False)
        yield url


def ask(backend: str = "mistral", **changes: Any) -> Json:
    return client.call("POST", "/v1/recommendations", EXAMPLE_BODY | changes, {"X-Backend": backend})


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["replay", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def report(capsys: Capture, *arguments: str) -> Json:
    status, output, errors = run(capsys, *arguments, "--json")
    assert (status, errors) == (0, "")
    found: Json = json.loads(output)
    return found


@pytest.mark.usefixtures("url")
def test_a_question_is_asked_again_as_it_was(backends: Backends, capsys: Capture) -> None:
    ask(blind=True)
    ask(detail="full")
    technicals = {"RSI_14": 81.5, "MACDh_12_26_9": -0.63, "BBP_20_2.0": 0.1}
    client.call("POST", "/v1/recommendations", {"metrics": {"technicals": technicals}, "detail": "brief"})
    client.call("POST", "/v1/recommendations", {"ticker": "AAPL", "as_of": "2012-05-10", "detail": "brief"})
    first = list(backends["mistral"].asked)
    found = report(capsys, "--backend", "gpt-4", "--concurrency", "1")
    assert backends["gpt-4"].asked == first[::-1]  # the newest first
    assert len(backends["mistral"].asked) == len(first) == 4
    assert (found["questions"], found["answered"], found["failed"], found["changed"]) == (4, 4, [], [])
    [group] = found["groups"]
    assert (group["backend"], group["model"], group["answers"]) == ("mistral", "double-1", 4)


@pytest.mark.usefixtures("url")
def test_changed_answers_agreement_and_cost(backends: Backends, capsys: Capture) -> None:
    backends["mistral"].script = [BUY, BUY, SELL, HOLD, BUY, BUY]
    logged = [ask(ticker=stock) for stock in STOCKS]
    backends["mistral"].script = [BUY, SELL, HOLD, SELL, BUY, BUY]  # of FFF, EEE, ...
    found = report(capsys, "--backend", "mistral", "--concurrency", "1", "--to", "2999-01-01")
    assert len(backends["mistral"].asked) == 12  # the cache answered nothing
    [changed] = found["changed"]
    assert changed["ticker"] == "EEE"
    assert changed["logged"]["id"] == logged[4]["id"]
    assert (changed["logged"]["action"], changed["logged"]["conviction"]) == ("buy", 7)
    assert (changed["new"]["action"], changed["new"]["conviction"]) == ("sell", 3)
    assert changed["new"]["id"] != logged[4]["id"]
    [group] = found["groups"]
    assert group["agreement"]["value"] == pytest.approx(5 / 6, abs=1e-5)
    assert group["agreement"]["low"] < 5 / 6 < group["agreement"]["high"]
    assert group["conviction_difference"]["value"] == pytest.approx(-4 / 6, abs=1e-5)
    logged_again = client.call("GET", f"/v1/recommendations/{changed['new']['id']}")["recommendation"]
    assert float(found["usd"]) == pytest.approx(6 * float(logged_again["cost"]["usd"]))

    backends["mistral"].script = [SELL]
    status, output, _ = run(capsys, "--backend", "mistral", "--ticker", "aaa", "--limit", "1")
    assert status == 0
    assert "1 of 1 questions answered again by mistral (double-1)" in output
    assert "1 changed:" in output and "buy 7" in output and "sell 3" in output


@pytest.mark.usefixtures("url")
def test_a_question_is_asked_once_for_all_its_answers(backends: Backends, capsys: Capture) -> None:
    """Repeated answers count once for each model; the cache gives the same answer again."""
    backends["gpt-4"].script = [HOLD]
    for backend in ("mistral", "mistral", "gpt-4"):
        ask(backend)
    backends["mistral"].script = [HOLD]
    found = report(capsys, "--backend", "mistral")
    assert (found["questions"], found["answered"], len(backends["mistral"].asked)) == (1, 1, 2)
    assert [(each["backend"], each["answers"]) for each in found["groups"]] == [("gpt-4", 1), ("mistral", 1)]
    assert [each["logged"]["backend"] for each in found["changed"]] == ["mistral"]
    other = report(capsys, "--backend", "mistral", "--backend-logged", "gpt-4")
    assert [each["backend"] for each in other["groups"]] == ["gpt-4"]


@pytest.mark.usefixtures("url")
def test_answers_to_another_version_of_the_prompt_are_apart(
    backends: Backends, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends["gpt-4"].script = [HOLD, BUY]
    ask("gpt-4")
    monkeypatch.setattr(recommend, "PROMPT_VERSION", "next")
    client.call("POST", "/v1/recommendations", EXAMPLE_BODY, {"X-Backend": "gpt-4", "Cache-Control": "no-cache"})
    backends["gpt-4"].script = [BUY]
    found = report(capsys, "--backend", "gpt-4")
    assert (found["questions"], found["answered"]) == (1, 1)
    assert [(each["prompt_version"], each["agreement"]["value"]) for each in found["groups"]] == [
        (PROMPT_VERSION, 0),
        ("next", 1),
    ]


@pytest.mark.usefixtures("url")
def test_several_pages_and_the_limit(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 2)
    made = [ask(ticker=stock) for stock in STOCKS]
    status, output, errors = run(capsys, "--backend", "mistral", "--limit", "5", "--json")
    assert (status, json.loads(output)["questions"]) == (0, 5)
    assert "more than 5" in errors
    later = report(capsys, "--backend", "mistral", "--from", made[3]["created_at"], "--to", made[5]["created_at"])
    assert later["questions"] == 2


@pytest.mark.usefixtures("url")
def test_failed_questions_are_counted_by_code(backends: Backends, capsys: Capture) -> None:
    for stock in STOCKS[:3]:
        ask(ticker=stock)
    backends["mistral"].script = [BackendError("it broke"), BUY, BackendError("it broke again")]
    status, output, _ = run(capsys, "--backend", "mistral", "--concurrency", "1", "--json")
    assert status == 1
    found = json.loads(output)
    assert found["failed"] == [{"code": "backend_error", "count": 2, "detail": "it broke"}]
    assert (found["answered"], found["groups"][0]["answers"]) == (1, 1)


@pytest.mark.usefixtures("url")
def test_if_every_question_fails_there_is_no_agreement(backends: Backends, capsys: Capture) -> None:
    ask()
    backends["mistral"].script = [BackendError("it broke")]
    status, output, _ = run(capsys, "--backend", "mistral")
    assert status == 1
    assert "1 failed: backend_error: it broke" in output
    assert "AGREEMENT" not in output


@pytest.mark.usefixtures("url")
def test_a_backend_that_is_not_ready_is_not_asked(backends: Backends, capsys: Capture) -> None:
    ask()
    backends["gpt-4"].unready = BackendUnavailable("OPENAI_API_KEY is not set")
    status, output, errors = run(capsys, "--backend", "gpt-4")
    assert (status, output, backends["gpt-4"].asked) == (1, "", [])
    assert "OPENAI_API_KEY is not set" in errors


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("--from", "2999-01-01"), 2, "no recommendation of this selection"),
        (("--from", "yesterday"), 1, "from"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), 1, "from must not be after to"),
    ],
)
def test_an_empty_or_wrong_selection(arguments: tuple[str, ...], status: int, error: str, capsys: Capture) -> None:
    ask()
    found, output, errors = run(capsys, "--backend", "mistral", *arguments)
    assert (found, output) == (status, "")
    assert error in errors


@pytest.mark.parametrize("wrong", [(), ("--backend", "cascade"), ("--backend", "mistral", "--limit", "0")])
def test_wrong_usage(wrong: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["replay", *wrong])
    assert exit_.value.code == 2


def test_without_a_log_or_a_gateway_it_says_so(
    own_store: str, backends: Backends, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    both: dict[BackendName, Backend] = {**backends}
    with served(
        create_app(Settings.model_validate({"market": "sample", "decision_log": "off"}), opened_with(own_store, both)),
        lifespan="on",
    ) as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        status, output, errors = run(capsys, "--backend", "mistral")
    assert (status, output) == (1, "")
    assert "decision log is off" in errors
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:9")
    assert run(capsys, "--backend", "mistral")[0] == 3


def test_an_interrupt_ends_with_what_is_known(url: str, backends: Backends) -> None:
    for stock in STOCKS:
        ask(ticker=stock)
    backends["mistral"].pause_after = len(STOCKS) + 2
    command = [sys.executable, "-m", "app.cli", "replay", "--backend", "mistral", "--concurrency", "1", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"CONVICTION_URL": url}
    )
    deadline = time.monotonic() + 60
    while len(backends["mistral"].asked) <= len(STOCKS) + 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # both answers are on their way to the client
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (cli.INTERRUPTED, b"")
    found = json.loads(output)
    assert found["questions"] == 6
    assert found["answered"] in (1, 2)
    assert [each["answers"] for each in found["groups"]] == [found["answered"]]

"""`conviction up` with the stand-in instead of the model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract import hardware
from app.supervisor.up import FORMS
from tests.supervisor.conftest import Store
from tests.supervisor.observing import gone
from tests.supervisor.running import COMMAND, PRICES, Answer, Up, environment, until, up


def refused(answer: Answer) -> Answer | None:
    return answer if answer.status == 503 else None


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `conviction up` until it ends."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=environment(folder / "run", more)
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up"), "--stand-in", more=PRICES) as running:
        yield running


def test_the_requests_it_prints_are_answered(running: Up) -> None:
    by_metrics, by_ticker = (running.ask(body) for body in running.bodies())
    assert (by_metrics.status, by_ticker.status) == (200, 200)
    assert by_metrics.document["ticker"] == "SNPS"
    assert by_metrics.document["stand_in"] is True
    assert by_ticker.document["metrics_source"]["provider"] == "sample"


def test_the_stand_in_answers_as_gpt_4_too(running: Up) -> None:
    answer = running.ask(running.bodies()[0], X_Backend="gpt-4")
    assert answer.document["backend"] == "gpt-4"
    assert answer.document["stand_in"] is True


def test_a_killed_model_server_is_reported_and_restarted(running: Up) -> None:
    body, before = running.bodies()[0], running.child("stand-in")
    os.kill(before, signal.SIGKILL)
    refusal = until(lambda: refused(running.ask(body, Cache_Control="no-store")), 10)
    assert refusal
    assert refusal.document["code"] == "backend_unavailable"
    assert int(refusal.headers["Retry-After"]) > 0
    assert until(lambda: running.ask(body, Cache_Control="no-store").status == 200, 30)
    assert running.child("stand-in") != before
    assert "stand-in was killed (SIGKILL); starting it again in 1 s" in running.seen


def test_a_killed_gateway_is_restarted(running: Up) -> None:
    before = running.child("serve")
    os.kill(before, signal.SIGKILL)
    until(lambda: "gateway is running again" in running.seen, 30)
    assert running.child("serve") != before
    assert running.ask(running.bodies()[0]).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_of_it(tmp_path: Path, number: int) -> None:
    with up(tmp_path, "--stand-in", more=PRICES) as running:
        descendants = running.descendants()
        assert len(descendants) >= 3
        assert running.stop(number) == 0
        assert all(map(gone, descendants))
        assert running.seen.endswith("stopping\n")


def test_all_its_processes_end_when_it_is_killed(tmp_path: Path) -> None:
    with up(tmp_path, "--stand-in", more=PRICES) as running:
        descendants = running.descendants()
        running.stop(signal.SIGKILL)
        until(lambda: all(map(gone, descendants)), 30)


FAKE_VLLM = """#!{python}
import os, sys
options = dict(zip(sys.argv[2:], sys.argv[3:]))
arguments = ["--port", options["--port"], "--model", options["--served-model-name"]]
os.execv("{python}", ["{python}", "-m", "app.cli", "stand-in", *arguments])
"""


def test_the_stand_in_may_answer_as_gpt_4_beside_a_model(store: Store, tmp_path: Path) -> None:
    profile, vllm = hardware.profile({}), tmp_path / "vllm"
    store.write_build(profile.weights)
    vllm.write_text(FAKE_VLLM.format(python=sys.executable))
    vllm.chmod(0o700)
    paths = {"MODEL_STORE": store.store, "MODELS": store.models, "VLLM_PYTHON": vllm}
    more = PRICES | {f"CONVICTION_{name}": str(path) for name, path in paths.items()}
    with up(tmp_path, "--stand-in", "gpt-4", more=more) as running:
        served = f"Serving {store.manifest.model_id}, {FORMS[profile.weights]}, {profile.dtype}, compiled, as mistral."
        assert f"{served} STAND-IN as gpt-4" in running.seen
        own, other = (running.ask(running.bodies()[0], X_Backend=backend) for backend in ("mistral", "gpt-4"))
        assert own.document["model"].endswith(store.manifest.model_id)
        assert (own.document["weights"], other.document["weights"]) == (profile.weights, None)
        assert other.document["model"].endswith("gpt-4.1")
        assert other.document["stand_in"] is True


def test_a_command_runs_once_all_are_ready_and_ends_it(tmp_path: Path) -> None:
    script = "import os, sys; print(os.environ['CONVICTION_URL']); sys.exit(5)"
    ended = run(tmp_path, "--stand-in", "--", sys.executable, "-c", script, **PRICES)
    assert ended.returncode == 5
    assert ended.stdout.startswith("http://127.0.0.1:")
    assert "STAND-IN" in ended.stderr


def test_a_port_in_use_is_refused_before_any_program_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = run(tmp_path, "--stand-in", CONVICTION_PORT=str(port), **PRICES)
    assert ended.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken by another program; PORT chooses another" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"CONVICTION_MODEL_STORE": "/nonexistent"}, "/nonexistent/current cannot be read"),
        ({"CONVICTION_VLLM_PORT": "99999"}, "CONVICTION_VLLM_PORT: "),
        ({"CONVICTION_API_KEYS_FILE": "/nonexistent", **PRICES}, "CONVICTION_API_KEYS_FILE: "),
    ],
)
def test_what_cannot_be_used_is_reported(tmp_path: Path, more: dict[str, str], why: str) -> None:
    arguments = ["--stand-in"] if PRICES.keys() <= more.keys() else []
    ended = run(tmp_path, *arguments, **more)
    assert ended.returncode == 2
    assert ended.stderr.startswith("conviction up: ")
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr

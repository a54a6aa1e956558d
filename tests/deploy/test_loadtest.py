"""Parts of the scale proof: HAProxy's configuration, the clients, the verdict on memory; and the whole command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.settings.gateway import Settings
from app.supervisor.process import Program
from deploy.loadtest import faults, model_server, settings
from deploy.loadtest.load import read
from deploy.loadtest.parts import Part, ScaleError, until
from deploy.loadtest.prove import prove
from deploy.loadtest.soak import LEAK, allocated, growth
from deploy.loadtest.stack import GATEWAYS

ROOT = Path(__file__).parents[2]
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
needs_haproxy = pytest.mark.skipif(
    HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install --no-install-recommends haproxy)"
)


@needs_haproxy
def test_haproxy_accepts_its_configuration(tmp_path: Path) -> None:
    assert HAPROXY is not None
    environment = settings.balancer_environment(tmp_path, 8080, [8081, 8082, 8083])
    command = [HAPROXY, "-c", "-f", str(settings.CONFIG)]
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stderr.lower()


def milliseconds(option: str) -> float:
    """Return an option of haproxy.cfg."""
    found = re.search(rf"\b{option} (\d+)(ms|s)\b", settings.CONFIG.read_text())
    assert found, option
    return int(found[1]) * (1 if found[2] == "ms" else 1000)


def test_a_gateway_that_stops_is_noticed_while_it_still_takes_requests() -> None:
    noticed = milliseconds("inter") + milliseconds("fastinter")
    assert noticed < 1000 * Settings.model_fields["drain_s"].default / 2


def test_the_gateway_times_out_first() -> None:
    assert milliseconds("timeout server") > 1000 * Settings.model_fields["backend_timeout_s"].default


def test_only_unsent_requests_are_retried() -> None:
    assert re.findall(r"^\s*retry-on (.*)$", settings.CONFIG.read_text(), re.MULTILINE) == ["conn-failure"]


def test_every_gateway_of_the_proof_is_in_the_configuration() -> None:
    servers = re.findall(r'^\s*server (gateway-\d) "\$\{(GATEWAY_\d)\}"$', settings.CONFIG.read_text(), re.MULTILINE)
    names = settings.balancer_environment(Path("/"), 1, range(GATEWAYS))
    assert [variable for _, variable in servers] == [name for name in names if name.startswith("GATEWAY_")]


ANSWER: dict[str, Any] = {"cost": {"usd": "0.000163"}}
PROBLEM, STREAM = "application/problem+json", "text/event-stream"


def event(name: str, document: object) -> str:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n"


@pytest.mark.parametrize(
    ("status", "kind", "body", "outcome"),
    [
        (200, "application/json", json.dumps(ANSWER), "ok"),
        (503, PROBLEM, json.dumps({"code": "store_unavailable"}), "store_unavailable"),
        (502, PROBLEM, json.dumps({"type": "about:blank"}), "502"),
        (200, STREAM, event("analysis", {}) + event("recommendation", ANSWER), "ok"),
        (200, STREAM, event("analysis", {}) + event("error", {"code": "backend_error"}), "backend_error"),
        (200, STREAM, event("analysis", {}), "lost"),
        (200, STREAM, "", "lost"),
    ],
)
def test_only_complete_answers_count(status: int, kind: str, body: str, outcome: str) -> None:
    found = read(httpx.Response(status, headers={"Content-Type": kind}, text=body))
    assert found == (outcome, ANSWER if outcome == "ok" else None)


@pytest.mark.parametrize(
    ("leak", "answers", "verdict"),
    [(0, 30_000, "flat"), (1_000, 30_000, "GROWS"), (0, 30, "too short to tell")],
)
def test_memory_is_flat_grows_or_undecided(leak: int, answers: int, verdict: str) -> None:
    """With a warm-up that takes memory, and noise of some pages."""
    answered = np.linspace(0, answers, 300)
    warm = 2e6 * np.minimum(1, answered / answers / 0.15)
    noise = np.random.default_rng(3).normal(0, 20_000, 300)
    found = growth(answered.tolist(), (170e6 + warm + leak * answered + noise).tolist())
    assert found.verdict == verdict
    assert found.low <= leak <= found.high or verdict == "flat"
    assert LEAK < 1_000


def test_memory_is_what_was_allocated() -> None:
    before = allocated(os.getpid())
    held = b"x" * 50_000_000
    assert allocated(os.getpid()) - before == pytest.approx(len(held), rel=0.1)


async def test_a_program_that_ends_is_restarted(tmp_path: Path) -> None:
    mark = tmp_path / "lives"
    script = f"open({str(mark)!r}, 'a').write('x'); import time; time.sleep(600)"

    async def answers() -> bool:
        return len(mark.read_text() if mark.exists() else "") > len(part.ends)

    part = Part(Program("sleeper", (sys.executable, "-c", script), settings.environment(), tmp_path / "log"), answers)
    part.start()
    try:
        await until(answers, "it starts")
        part.signal(faults.signal.SIGKILL)
        await part.back(0)
        assert (part.ends, mark.read_text()) == ([-9], "xx")
    finally:
        await part.stop()


async def test_a_part_that_does_not_recover_is_named() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(ScaleError, match="gateway-1: not within 0 s"):
        await until(never, "gateway-1", 0)


@needs_haproxy
def test_without_the_model_vllm_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVICTION_MODELS", str(tmp_path / "models"))
    assert prove(Namespace(only=None, folder=tmp_path, vllm=True, within=10.0)) == 2
    assert "`make model` builds it" in capsys.readouterr().err


def test_vllm_s_calls_are_those_that_it_counts() -> None:
    page = (Path(__file__).parent / "vllm_metrics.txt").read_text()
    assert sum(map(float, model_server.SERVED.findall(page))) == 40


@pytest.mark.slow
@needs_haproxy
def test_three_gateways_are_one(tmp_path: Path) -> None:
    """Run the whole proof, with limits for a busy machine."""
    command = [sys.executable, "-m", "deploy.loadtest", "--within", "60", "--folder", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert "STAND-IN" in lines[0]
    said = {line[6:24].strip(): line[25:] for line in lines[1:]}
    assert list(said) == [
        *("limits", "budgets", "single-flight", "experiments", "rolling restart"),
        *(f"kill -9 {name}" for name in faults.KILLED),
    ]
    assert said["single-flight"].startswith("30 identical requests on 3 gateways: 1 upstream call")
    assert re.match(r"0 failed of \d+ requests", said["rolling restart"])
    assert all("ledger" in said[name] for name in list(said)[4:])

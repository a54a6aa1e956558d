"""End to end: the adapter of model_store/, in vLLM, behind the gateway.

The tests depend on their order: the last two stop the server.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from app.contract import hardware
from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.manifest import current, read
from app.contract.prompt import Detail, messages
from tests.supervisor.observing import gone
from tests.supervisor.running import Answer, Up, command_of, fetch, until

ROOT = Path(__file__).parents[2]
TOKENS = ROOT / "tests" / "training" / "tokens.json"
"""The worked example's tokens in training."""

SNPS = {"ticker": "SNPS", "metrics": EXAMPLE.document()}
BACK_S = 420


def vllm_url(running: Up) -> str:
    """Return the model server's URL."""
    [port] = re.findall(r"--port (\d+)", command_of(running.child("vllm")))
    return f"http://127.0.0.1:{port}/v1"


def answered(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.document
    document: dict[str, Any] = answer.document
    return document


def test_vllm_serves_a_model_made_for_this_contract(vllm_up: Up) -> None:
    with urlopen(f"{vllm_url(vllm_up)}/models", timeout=10) as response:
        [model] = json.load(response)["data"]
    assert model["id"] == read(current(ROOT / "model_store")).model_id
    assert model["id"].endswith(fingerprint())


def test_it_serves_the_form_of_the_weights_that_fits_the_machine(vllm_up: Up) -> None:
    profile, log = hardware.profile({}), (vllm_up.run_dir / "vllm.log").read_text()
    assert f"This machine: {profile.machine}; {profile.reason}." in vllm_up.seen
    assert f"dtype=torch.{profile.dtype}" in log
    assert bool(re.search(r"quantization=\S*awq", log)) == (profile.weights == "awq")
    assert answered(vllm_up.ask({**SNPS, "detail": "brief"}))["weights"] == profile.weights


def test_the_gateway_reports_the_profile(vllm_up: Up) -> None:
    [mistral] = [each for each in json.loads(vllm_up.get("/v1/backends"))["backends"] if each["name"] == "mistral"]
    assert mistral["profile"] == json.loads(json.dumps(asdict(hardware.profile({}))))


def test_the_golden_prompts_passed_before_anyone_could_ask(vllm_up: Up) -> None:
    kind = hardware.profile({}).weights
    model_id = read(current(ROOT / "model_store")).model_id
    assert (ROOT / ".models" / model_id / f"golden-{kind}.json").exists()


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_a_prompt_s_tokens_are_those_of_training(vllm_up: Up, detail: Detail) -> None:
    asked = {"model": read(current(ROOT / "model_store")).model_id, "messages": messages(EXAMPLE, "SNPS", detail)}
    url = vllm_url(vllm_up).removesuffix("/v1") + "/tokenize"
    request = Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    assert fetch(request).document["tokens"] == json.loads(TOKENS.read_text())[detail]["prompt"]


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_the_worked_example_is_answered(vllm_up: Up, detail: str) -> None:
    answer = answered(vllm_up.ask({**SNPS, "detail": detail}, Cache_Control="no-store"))
    assert answer["backend"] == "mistral"
    assert answer["action"] in {"buy", "sell", "hold"}
    assert 1 <= answer["conviction"] <= 10
    assert bool(answer["analysis"]) == (detail == "full")
    assert answer["stand_in"] is False
    assert answer["model"].endswith(fingerprint())
    assert answer["probabilities_given"] == "metrics"
    assert answer["usage"]["estimated"] is False
    assert answer["timing"]["ttft_ms"] < answer["timing"]["total_ms"]
    assert answer["cost"]["basis"] == "capacity"
    assert float(answer["cost"]["usd"]) > 0


def test_the_same_question_has_the_same_answer(vllm_up: Up) -> None:
    first, second = (answered(vllm_up.ask({**SNPS, "detail": "brief"})) for _ in range(2))
    assert (first["action"], first["conviction"]) == (second["action"], second["conviction"])


def test_the_requests_it_prints_are_answered(vllm_up: Up) -> None:
    by_metrics, by_ticker = (answered(vllm_up.ask(body)) for body in vllm_up.bodies())
    assert by_metrics["ticker"] == "SNPS"
    assert by_ticker["metrics_source"]["provider"] == "sample"
    assert by_ticker["metrics_source"]["simulated"] == ["options"]


def test_a_header_away_is_gpt_4(vllm_up: Up) -> None:
    answer = answered(vllm_up.ask({**SNPS, "detail": "brief"}, X_Backend="gpt-4"))
    assert answer["backend"] == "gpt-4"
    assert answer["stand_in"] is True
    assert answer["cost"]["basis"] == "list_price"


def test_the_metrics_show_tokens_pace_and_cost_of_both(vllm_up: Up) -> None:
    for backend in ("mistral", "gpt-4"):
        answered(vllm_up.ask({**SNPS, "detail": "full"}, X_Backend=backend))
    page = vllm_up.get("/metrics")
    for backend, basis in (("mistral", "capacity"), ("gpt-4", "list_price")):
        assert sample(page, "conviction_tokens_total", backend=backend, type="output") > 0
        assert sample(page, "conviction_time_per_output_token_seconds_count", backend=backend) > 0
        assert sample(page, "conviction_cost_usd_total", backend=backend, basis=basis) > 0


def sample(page: str, name: str, **labels: str) -> float:
    """Sum a metric's series with these labels, from Prometheus' text format; 0 if there is none."""
    series = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", page, re.MULTILINE)
    return sum(
        float(value) for given, value in series if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', given)).items()
    )


def test_it_looks_nothing_up_and_knows_no_secret(vllm_up: Up) -> None:
    variables = Path(f"/proc/{vllm_up.child('vllm')}/environ").read_text()
    assert "HF_HUB_OFFLINE=1" in variables
    assert "OPENAI_API_KEY" not in variables


@pytest.mark.slow
def test_a_killed_vllm_is_reported_and_restarted(vllm_up: Up) -> None:
    before, question, made = vllm_up.child("vllm"), {**SNPS, "detail": "brief"}, {"Cache_Control": "no-store"}
    os.kill(before, signal.SIGKILL)
    refusal = until(lambda: refused(vllm_up.ask(question, **made)), 30)
    assert refusal
    assert refusal.document["code"] == "backend_unavailable"
    assert int(refusal.headers["Retry-After"]) > 0
    assert "/" not in refusal.document["detail"]
    assert answered(vllm_up.ask(question, X_Backend="gpt-4"))["backend"] == "gpt-4"
    assert until(lambda: vllm_up.ask(question, **made).status == 200, BACK_S)
    assert vllm_up.child("vllm") != before
    assert (vllm_up.run_dir / "vllm.log.1").exists()


def refused(answer: Answer) -> Answer | None:
    return answer if answer.status == 503 else None


def test_a_signal_stops_all_of_it(vllm_up: Up) -> None:
    descendants = vllm_up.descendants()
    assert len(descendants) >= 4
    assert vllm_up.stop() == 0
    assert all(map(gone, descendants))

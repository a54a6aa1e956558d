"""The candidate: asked for by name, as an arm whose failures the incumbent answers, and as a side of comparisons."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.contract.recommendation import FullAnswer, canonical
from app.errors import BackendError, BackendUnavailable, StoreUnavailable
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, Broken, Gateway, ask, completion, gateway
from tests.waiting import until

BUY = completion('{"action":"buy","conviction":7}', model="candidate-1")
SELL = completion('{"action":"sell","conviction":4}')
FULL = completion(canonical(FullAnswer(analysis="The trend is up. RSI is no hindrance.", action="buy", conviction=7)))
STREAMED = EXAMPLE_BODY | {"detail": "full", "stream": True}
CONFIGURED: dict[str, Any] = {
    "candidate_urls": ("http://candidate.example/v1",),
    "hosting_usd_per_hour": "0.10",
    "capacity_tokens_per_hour": 100_000,
}
AWAY = BackendUnavailable("candidate cannot be reached")


@pytest.fixture
def arms(tmp_path: Path) -> Path:
    """An experiment in which the candidate answers everything."""
    file = tmp_path / "experiments.json"
    arm = {"name": "new", "backend": "candidate", "weight": 10_000}
    file.write_text(json.dumps({"experiments": [{"name": "version", "arms": [arm]}]}))
    return file


@pytest.fixture
async def running(own_store: str, arms: Path) -> AsyncIterator[Gateway]:
    settings = {**CONFIGURED, "experiments_file": arms, "candidate_shadow_fraction": 0}
    async with gateway(own_store, wire=True, **settings) as running:
        yield running


def outcomes(running: Gateway, backend: str, outcome: str) -> float:
    return running.sample("conviction_requests_total", backend=backend, outcome=outcome)


async def test_an_arm_of_the_candidate_is_answered_by_it(running: Gateway) -> None:
    running.backends["candidate"].script = [BUY]
    response = await ask(running)
    answer = response.json()
    assert (answer["backend"], answer["model"], answer["action"]) == ("candidate", "candidate-1", "buy")
    assert (answer["experiment"], answer["fallback_from"]) == ({"name": "version", "arm": "new"}, None)
    assert response.headers["x-backend"] == "candidate"
    assert running.mistral.asked == []
    assert outcomes(running, "candidate", "ok") == 1
    assert float(answer["cost"]["usd"]) > 0


FAILURES = [AWAY, BackendError("candidate failed"), Broken(BUY.text[:9], BackendError("candidate broke off"))]


@pytest.mark.parametrize("failure", [*FAILURES, completion("nonsense")], ids=["away", "failed", "broken", "unparsed"])
async def test_whatever_fails_there_the_incumbent_answers_and_it_is_counted(running: Gateway, failure: Any) -> None:
    running.backends["candidate"].script = [failure, failure]
    running.mistral.script = [SELL]
    response = await ask(running)
    answer = response.json()
    assert (response.status_code, answer["backend"], answer["action"]) == (200, "mistral", "sell")
    assert (answer["fallback_from"], answer["experiment"]["arm"]) == ("candidate", "new")
    assert response.headers["x-fallback-from"] == "candidate"
    assert running.backends["candidate"].asked[0] == running.mistral.asked[0]
    assert outcomes(running, "mistral", "ok") == 1
    assert outcomes(running, "candidate", "ok") == 0
    assert running.sample("conviction_requests_total", backend="candidate") == 1


async def test_a_late_candidate_leaves_the_incumbent_half_of_the_time(running: Gateway) -> None:
    running.backends["candidate"].go = asyncio.Event()
    for body in (EXAMPLE_BODY, EXAMPLE_BODY | {"stream": True}):
        response = await ask(running, body, X_Timeout_Ms="1000")
        assert response.status_code == 200
        assert '"backend":"mistral"' in response.text
    assert outcomes(running, "candidate", "deadline_exceeded") == 2


async def test_a_stream_of_the_incumbent_follows_a_failure_before_the_first_piece(running: Gateway) -> None:
    running.backends["candidate"].script = [AWAY]
    running.mistral.script = [FULL]
    response = await ask(running, STREAMED)
    assert response.headers["x-backend"] == "mistral"
    assert '"fallback_from":"candidate"' in response.text
    running.backends["candidate"].script = [FULL]
    response = await ask(running, STREAMED)
    assert response.headers["x-backend"] == "candidate"
    assert '"fallback_from":null' in response.text


async def test_limits_of_the_candidate_do_not_refuse_a_request(own_store: str, arms: Path) -> None:
    async with gateway(own_store, **CONFIGURED, experiments_file=arms, mistral_requests_per_minute=1) as running:
        first, second = [(await ask(running, EXAMPLE_BODY | {"ticker": name})).json() for name in ("A", "B")]
        assert (first["backend"], second["backend"], second["fallback_from"]) == ("candidate", "mistral", "candidate")
        assert outcomes(running, "candidate", "rate_limited") == 1


async def test_if_both_fail_the_client_s_fallback_answers_the_incumbent_s_failure(running: Gateway) -> None:
    running.backends["candidate"].script = [AWAY] * 2
    running.mistral.script = [BackendError("mistral failed")] * 2
    assert_problem(await ask(running), 502, "backend_error")
    answer = (await ask(running, X_Fallback="gpt-4")).json()
    assert (answer["backend"], answer["fallback_from"]) == ("gpt-4", "mistral")


async def test_a_failure_of_the_store_is_not_the_candidate_s(running: Gateway) -> None:
    running.backends["candidate"].script = [StoreUnavailable("away")]
    assert_problem(await ask(running), 503, "store_unavailable")
    assert running.mistral.asked == []


async def test_a_candidate_that_a_client_names_is_not_replaced(running: Gateway) -> None:
    running.backends["candidate"].script = [AWAY]
    assert_problem(await ask(running, X_Backend="candidate"), 503, "backend_unavailable")
    assert (await ask(running, X_Backend="Candidate")).json()["backend"] == "candidate"
    body = {"model": "candidate", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await running.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.headers["x-backend"]) == (200, "candidate")


async def test_without_a_candidate_its_arms_get_the_default_and_its_name_is_refused(own_store: str, arms: Path) -> None:
    async with gateway(own_store, experiments_file=arms) as running:
        answer = (await ask(running)).json()
        assert (answer["backend"], answer["experiment"]) == ("mistral", None)
        refused = await ask(running, X_Backend="candidate")
        assert_problem(refused, 503, "backend_unavailable")
        assert "CONVICTION_CANDIDATE_URLS" in refused.json()["detail"]
        for path in ("/v1/backends", "/v1/models", "/metrics"):
            assert '"candidate"' not in (await running.client.get(path)).text


async def test_a_dead_candidate_is_listed_and_readiness_does_not_depend_on_it(running: Gateway) -> None:
    running.backends["candidate"].unready = AWAY
    assert (await running.client.get("/health/ready")).status_code == 200
    states = (await running.client.get("/v1/backends")).json()["backends"]
    assert {each["name"]: each["ready"] for each in states} == {"mistral": True, "gpt-4": True, "candidate": False}
    running.backends["candidate"].unready = None
    running.mistral.unready = running.backends["gpt-4"].unready = BackendUnavailable("away")
    await asyncio.sleep(1.01)  # the check is reused for a second
    assert (await running.client.get("/health/ready")).status_code == 503


async def test_a_comparison_of_the_candidate_is_stored_with_its_sides(running: Gateway) -> None:
    running.backends["candidate"].script, running.mistral.script = [BUY], [SELL]
    response = await running.client.post("/v1/comparisons?sides=candidate,mistral", json=EXAMPLE_BODY)
    answer = response.json()
    assert (list(answer["sides"]), answer["agree"]) == (["candidate", "mistral"], False)
    assert running.sample("conviction_candidate_pairs_total", other="mistral", result="differ") == 1
    assert (await running.client.get("/v1/comparisons")).json()["pairs"] == []
    query = "sides=candidate,mistral&candidate_model=candidate-1"
    (pair,) = (await running.client.get(f"/v1/comparisons?{query}")).json()["pairs"]
    assert (pair["id"], pair["sides"]["candidate"]["action"]) == (answer["id"], "buy")
    report = (await running.client.get(f"/v1/comparisons/report?{query}&group_by=candidate_model")).json()
    assert (report["pairs"], list(report["backends"])) == (1, ["candidate", "mistral"])
    assert report["confusion"]["buy"]["sell"] == 1
    assert report["groups"][0]["by"] == {"candidate_model": "candidate-1"}
    csv = await running.client.get(f"/v1/comparisons?{query}", headers={"Accept": "text/csv"})
    assert "candidate_action" in csv.text
    for wrong in ("sides=mistral,candidate", "gpt4_model=x&sides=candidate,mistral", "candidate_model=x"):
        assert_problem(await running.client.get(f"/v1/comparisons?{wrong}"), 422, "invalid_request")
    assert_problem(await running.client.get("/v1/comparisons/report?group_by=candidate_model"), 422, "invalid_request")


async def test_answers_of_the_candidate_are_copied_to_the_incumbent(
    own_store: str, arms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.comparison.shadow.MAX_LAG_S", 60.0)
    async with gateway(own_store, wire=True, **CONFIGURED, experiments_file=arms) as running:
        running.backends["candidate"].script, running.mistral.script = [BUY], [BUY]
        await ask(running)
        await until(lambda: running.sample("conviction_shadow_copies_total", result="stored"))
        (pair,), _ = await running.resources.comparisons.of(("candidate", "mistral")).page(None, 10)
        assert (pair.origin, pair.agree) == ("shadow", True)
        await ask(running, X_Backend="mistral")  # whose own share is 0
        assert running.backends["candidate"].asked == running.mistral.asked[:1]

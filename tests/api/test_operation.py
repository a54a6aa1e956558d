"""What operators look at: backends, health, metrics."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from app.api import health
from app.errors import BackendUnavailable
from tests.doubles import CountingBackend, Gateway, ask, gateway

ABSENT_STORE = "redis://127.0.0.1:1"


async def test_backends_are_listed_with_their_prices(running: Gateway) -> None:
    running.backends["gpt-4"].unready = BackendUnavailable("gpt-4 cannot be reached")
    listed = (await running.client.get("/v1/backends")).json()
    assert listed["default"] == "mistral"
    hosted, api = listed["backends"]
    assert (hosted["name"], hosted["model"], hosted["ready"], hosted["reason"]) == (
        "mistral",
        "double-1",
        True,
        None,
    )
    assert hosted["price"]["basis"] == "capacity"
    assert hosted["price"]["usd_per_1k_tokens"] == "0.001"
    assert hosted["shutdown"] is None
    assert (api["name"], api["ready"], api["reason"]) == ("gpt-4", False, "gpt-4 cannot be reached")
    assert (api["price"]["input_usd_per_1m"], api["price"]["output_usd_per_1m"]) == ("2", "8")
    assert api["shutdown"] == "2027-01-14"


async def test_liveness_has_one_field(running: Gateway) -> None:
    response = await running.client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"alive": True})


async def test_ready_when_default_backend_and_store_are(running: Gateway) -> None:
    running.backends["gpt-4"].unready = BackendUnavailable("not the default")
    response = await running.client.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "components": {
            "mistral": {"ready": True, "reason": None},
            "store": {"ready": True, "reason": None},
            "gateway": {"ready": True, "reason": None},
        },
        "market": "sample",
    }


async def test_the_gateway_is_ready_if_another_backend_is(running: Gateway) -> None:
    """A balancer that took every gateway away for one backend would take the other from those who ask for it."""
    running.backends["mistral"].unready = BackendUnavailable("mistral cannot be reached")
    response = await running.client.get("/health/ready")
    assert response.status_code == 200
    components = response.json()["components"]
    assert components["mistral"] == {"ready": False, "reason": "mistral cannot be reached"}
    assert components["gpt-4"] == {"ready": True, "reason": None}


async def test_not_ready_names_the_backends(running: Gateway) -> None:
    for name, backend in running.backends.items():
        backend.unready = BackendUnavailable(f"{name} cannot be reached")
    response = await running.client.get("/health/ready")
    assert response.status_code == 503
    for name in running.backends:
        assert response.json()["components"][name] == {"ready": False, "reason": f"{name} cannot be reached"}


async def test_a_gateway_that_is_about_to_stop_is_not_ready_and_still_answers(running: Gateway) -> None:
    running.app.state.drain.started = True
    response = await running.client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["components"]["gateway"] == {"ready": False, "reason": "the gateway is stopping"}
    assert (await ask(running)).status_code == 200


async def test_not_ready_names_the_store() -> None:
    async with gateway(ABSENT_STORE) as running:
        response = await running.client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["components"]["store"] == {"ready": False, "reason": "Redis does not answer"}


async def test_probes_without_a_key_cause_one_check_a_second(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []

    async def check(self: CountingBackend) -> None:
        checks.append(self.name)
        await asyncio.sleep(0.01)

    monkeypatch.setattr(CountingBackend, "check", check)
    now = monotonic()
    monkeypatch.setattr("app.api.health.monotonic", lambda: now)
    responses = await asyncio.gather(*(running.client.get("/health/ready") for _ in range(50)))
    assert {response.status_code for response in responses} == {200}
    assert checks == ["mistral"]
    now += health.FRESH_S
    await running.client.get("/health/ready")
    assert checks == ["mistral", "mistral"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/v1/backends", "/v1/models", "/docs"])
async def test_head_is_answered_as_get_without_the_body(running: Gateway, path: str) -> None:
    got, response = await running.client.get(path), await running.client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == got.headers["content-type"]


async def test_head_of_what_cannot_be_read_is_not_allowed(running: Gateway) -> None:
    response = await running.client.head("/v1/recommendations/batch")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    response = await running.client.delete("/v1/models")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


async def test_models_are_listed_as_openai_does(running: Gateway) -> None:
    listed = (await running.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    expected = [{"id": name, "object": "model", "created": 0, "owned_by": "conviction"} for name in running.backends]
    assert sorted(listed["data"], key=str) == sorted(expected, key=str)
    assert (await running.client.get("/v1/models/mistral")).json() == expected[0]
    unknown = await running.client.get("/v1/models/llama")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


async def test_a_query_of_many_parameters_is_refused(running: Gateway) -> None:
    response = await running.client.get("/v1/comparisons/report?" + "&".join(["tickers=A"] * 5_000))
    assert response.status_code == 422
    response = await running.client.get("/v1/comparisons/report?tickers=" + ",".join(["A"] * 16_000))
    assert response.status_code == 422

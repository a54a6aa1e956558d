"""A canary on gateways that share a store: one state, decided once, and what admins and clients see of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.contract.completion import BACKEND_NAMES, BackendName
from app.errors import BackendError, BackendUnavailable, DeadlineExceeded
from app.routing import canary as module
from app.routing.canary_store import CanaryStore
from app.routing.experiments import bucket_of
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from tests.api.test_bad_input import assert_problem
from tests.completions.test_service import followed, joined
from tests.doubles import EXAMPLE_BODY, Broken, Gateway, ask, gateway
from tests.routing.test_trial import CONFIGURED

SETTINGS: dict[str, Any] = {
    **CONFIGURED,
    **{"canary_steps": "10,40,100", "canary_min_requests": 20, "canary_min_s": 0, "canary_min_pairs": 0},
    **{"canary_max_latency_ratio": 100, "candidate_shadow_fraction": 0},
}
AWAY = BackendUnavailable("candidate cannot be reached")
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways look when they start, then only when a test does."""
    monkeypatch.setattr(module, "INTERVAL_S", 3600.0)


@pytest.fixture
async def gateways(own_store: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
    async with gateway(own_store, **SETTINGS) as one, gateway(own_store, **SETTINGS) as other:
        for each in (one, other):
            await each.resources.canary.look()
        yield one, other


async def put(running: Gateway, action: str) -> Json:
    response = await running.client.put(f"/v1/canary/{action}")
    assert response.status_code == 200, response.text
    state: Json = response.json()
    return state


async def state(running: Gateway) -> Json:
    found: Json = (await running.client.get("/v1/canary")).json()
    return found


def subjects(percent: float, *, inside: bool, number: int) -> list[str]:
    """Return subjects whose bucket is, or is not, in the share."""
    names = (f"desk {number}" for number in range(10_000))
    return [name for name in names if (bucket_of("canary", name) < percent * 100) == inside][:number]


async def answered(running: Gateway, percent: float, *, inside: bool, number: int = 20) -> list[Json]:
    found = []
    for subject in subjects(percent, inside=inside, number=number):
        response = await ask(running, X_Subject=subject)
        assert response.status_code == 200
        found.append(response.json())
    return found


async def test_it_rises_in_steps_that_all_gateways_take(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    assert (await state(one))["phase"] == "off"
    assert (await ask(one)).json()["experiment"] is None
    started = await put(one, "start")
    assert (started["phase"], started["share"], started["steps"]) == ("running", 10, [10, 40, 100])
    await other.resources.canary.look()
    new = await answered(one, 10, inside=True, number=10) + await answered(other, 10, inside=True, number=10)
    assert {(each["backend"], each["experiment"]["arm"]) for each in new} == {("candidate", "candidate")}
    usual = await answered(other, 10, inside=False)
    assert {(each["backend"], each["experiment"]["name"]) for each in usual} == {("mistral", "canary")}
    assert (await state(one))["share"] == 10  # the other's calls are not reported yet
    assert (await state(other))["share"] == 40
    assert (await state(one))["share"] == 40
    assert {each["backend"] for each in await answered(one, 10, inside=True)} == {"candidate"}  # they keep it
    await answered(one, 40, inside=False)
    assert (await state(one))["share"] == 100
    whole = await state(one)
    assert {each["name"]: each["observations"] for each in whole["checks"]} == dict.fromkeys(
        ("errors", "latency", "agreement"), 0
    )
    assert {each["backend"] for each in await answered(one, 40, inside=False)} == {"candidate"}
    renewed = await state(one)  # measured against mistral's calls of the step before
    assert (renewed["phase"], renewed["share"]) == ("running", 100)
    assert renewed["since"] > whole["since"]
    for each in gateways:
        await each.resources.canary.look()
        assert each.sample("conviction_canary_share") == 1
        assert each.sample("conviction_canary_phase", phase="running") == 1


async def test_a_dead_candidate_fails_no_request_and_is_rolled_back_everywhere(
    gateways: tuple[Gateway, Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = gateways
    await put(one, "start")
    await answered(one, 10, inside=False)
    one.backends["candidate"].script = [AWAY] * 20
    with caplog.at_level(logging.INFO, "app.routing.canary"):
        failed = await answered(one, 10, inside=True)
        assert {(each["backend"], each["fallback_from"]) for each in failed} == {("mistral", "candidate")}
        rolled_back = await state(one)
    assert (rolled_back["phase"], rolled_back["share"]) == ("rolled_back", 0)
    assert rolled_back["reason"].startswith("errors: 1, bound 0.02")
    (record,) = [each for each in caplog.records if each.name == "app.routing.canary"]
    assert (record.levelname, "from 10% to 0%: errors" in record.getMessage()) == ("WARNING", True)
    assert (await state(other))["phase"] == "rolled_back"
    assert other.sample("conviction_canary_phase", phase="rolled_back") == 1
    again = await answered(other, 10, inside=True)
    assert {(each["backend"], each["experiment"]) for each in again} == {("mistral", None)}
    await other.resources.canary.look()
    assert (await state(other))["phase"] == "rolled_back"  # until an admin starts it
    assert (await put(other, "start"))["share"] == 10


async def test_disagreement_rolls_back(gateways: tuple[Gateway, Gateway]) -> None:
    one, _ = gateways
    await put(one, "start")
    compared = await one.client.post("/v1/comparisons?sides=candidate,mistral", json=EXAMPLE_BODY)
    assert compared.status_code == 200
    (pair,), _ = await one.resources.comparisons.of(("candidate", "mistral")).page(None, 1)
    differing = replace(pair, sides={**pair.sides, "candidate": replace(pair.sides["candidate"], action="sell")})
    for each in [pair] * 5 + [differing] * 40:
        one.resources.canary.observe_pair(each)
    others = dict.fromkeys(BACKEND_NAMES, pair.sides["mistral"])
    one.resources.canary.observe_pair(replace(pair, sides=others))  # no pair of the candidate's
    found = await state(one)
    assert (found["phase"], found["reason"]) == ("rolled_back", "agreement: 0.1111, bound 0.8")


async def test_a_pause_keeps_the_share_and_a_start_goes_on(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    await put(one, "start")
    assert (await put(other, "pause"))["share"] == 10
    await answered(other, 10, inside=True)
    await answered(other, 10, inside=False)
    await other.resources.canary.look()
    assert [(await state(each))["phase"] for each in gateways] == ["paused"] * 2
    assert [(await state(each))["share"] for each in gateways] == [10] * 2
    assert (await put(one, "start"))["phase"] == "running"
    assert (await put(one, "rollback"))["reason"] == "an admin's request"


async def test_a_decision_is_taken_once(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    await put(one, "start")
    await answered(one, 10, inside=False)
    await answered(one, 10, inside=True)
    await asyncio.gather(*(each.resources.canary.look() for each in (one, other) * 3))
    assert [(await state(each))["share"] for each in gateways] == [40] * 2
    assert one.resources.canary.state.version == 2


async def test_what_a_step_left_behind_is_not_counted_in_the_next(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    await put(one, "start")
    await other.resources.canary.look()
    other.backends["candidate"].script = [AWAY] * 20
    await answered(other, 10, inside=True)
    await put(one, "pause")
    checks = {each["name"]: each for each in (await state(other))["checks"]}
    assert checks["errors"]["observations"] == 0


@pytest.mark.parametrize(
    ("error", "observations"), [(BackendError("failed"), 1), (DeadlineExceeded("late"), 1), (None, 1)], ids=repr
)
async def test_streams_are_counted_too(
    gateways: tuple[Gateway, Gateway], error: Exception | None, observations: int
) -> None:
    one, _ = gateways
    await put(one, "start")
    (subject,) = subjects(10, inside=True, number=1)
    one.backends["candidate"].script = [error] if error else []
    response = await ask(one, EXAMPLE_BODY | {"detail": "full", "stream": True}, X_Subject=subject)
    assert response.headers["x-backend"] == ("mistral" if error else "candidate")
    (errors,) = [each for each in (await state(one))["checks"] if each["name"] == "errors"]
    assert errors["observations"] == observations


@pytest.mark.parametrize("more", [{}, {"detail": "full", "stream": True}], ids=["whole", "stream"])
async def test_a_failed_call_that_requests_share_is_counted_once(
    gateways: tuple[Gateway, Gateway], more: dict[str, object]
) -> None:
    one, other = gateways
    await put(one, "start")
    await other.resources.canary.look()
    candidate, go = one.backends["candidate"], asyncio.Event()
    candidate.go, candidate.script = go, [Broken('{"act', BackendError("candidate broke off"))]
    (subject,) = subjects(10, inside=True, number=1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(one, EXAMPLE_BODY | more, X_Subject=subject))
        await candidate.began()
        for each in (one, other):
            tasks.create_task(ask(each, EXAMPLE_BODY | more, X_Subject=subject))
        await joined(one, 1)
        await followed(other)
        go.set()
    assert [len(each.backends["candidate"].asked) for each in gateways] == [1, 0]
    await other.resources.canary.look()
    (errors,) = [each for each in (await state(one))["checks"] if each["name"] == "errors"]
    assert errors["observations"] == 1


async def test_headers_and_experiments_come_before_it(gateways: tuple[Gateway, Gateway]) -> None:
    one, _ = gateways
    await put(one, "start")
    (subject,) = subjects(10, inside=True, number=1)
    answers = [(await ask(one, X_Subject=subject, X_Backend=name)).json() for name in ("mistral", "gpt-4")]
    assert [(each["backend"], each["experiment"]) for each in answers] == [("mistral", None), ("gpt-4", None)]


async def test_what_is_impossible_is_refused(gateways: tuple[Gateway, Gateway], own_store: str) -> None:
    one, _ = gateways
    for action, status, code in (("pause", 409, "conflict"), ("rollback", 409, "conflict"), ("stop", 404, "not_found")):
        assert_problem(await one.client.put(f"/v1/canary/{action}"), status, code)
    await put(one, "start")
    assert_problem(await one.client.put("/v1/canary/start"), 409, "conflict", "10%")
    for settings in ({}, CONFIGURED | {"default_backend": "gpt-4"}):
        async with gateway(own_store, **settings) as without:
            assert_problem(await without.client.put("/v1/canary/rollback"), 409, "conflict", "CONVICTION_")
            assert (await ask(without, X_Subject="desk 1")).json()["experiment"] is None


async def test_only_admins_may_see_and_change_it(own_store: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("admin:an-admin-key-0123456789\n")
    keys.chmod(0o600)
    async with gateway(own_store, **SETTINGS, api_keys_file=keys) as running:
        admin = {"X-API-Key": "an-admin-key-0123456789"}
        scope: list[BackendName] = ["mistral"]
        made = await running.client.post("/v1/keys", json={"name": "ann", "backends": scope}, headers=admin)
        key = {"X-API-Key": made.json()["key"]}
        assert_problem(await running.client.get("/v1/canary", headers=key), 403, "forbidden")
        assert_problem(await running.client.put("/v1/canary/start", headers=key), 403, "forbidden")
        assert (await running.client.put("/v1/canary/start", headers=admin)).status_code == 200
        (subject,) = subjects(10, inside=True, number=1)
        answer = (await ask(running, X_Subject=subject, X_API_Key=key["X-API-Key"])).json()
        assert (answer["backend"], answer["experiment"]) == ("mistral", None)  # the candidate is outside its scope


async def test_an_unavailable_store_is_counted_and_nothing_is_lost(
    gateways: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = gateways
    await put(one, "start")
    await answered(one, 10, inside=False)
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        with monkeypatch.context() as patched:
            patched.setattr(one.resources.canary, "_store", CanaryStore(Pipelined(redis)))
            patched.setattr(module, "INTERVAL_S", 0.01)
            async with one.resources.canary.running(), asyncio.timeout(10):
                while not one.sample("conviction_store_errors_total", store="canary"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    await answered(one, 10, inside=True)
    assert (await state(one))["share"] == 40

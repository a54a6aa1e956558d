"""GET /v1/recommendations over HTTP: each key reads what it received, and an admin's key all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.api.decision_cursor import PATTERN, PREFIX, decode_cursor, encode_cursor
from app.decision_log import writer
from app.decision_log.queries import Position, Selection
from app.errors import InvalidRequest
from app.recommendation import RECOMMENDATION
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, Gateway, ask, gateway
from tests.waiting import until

Json = dict[str, Any]
PATH = "/v1/recommendations"
ROOT = "0123456789abcdef"
ADMIN = {"X-API-Key": ROOT}


@pytest.fixture
async def running(own_store: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with keys, a cache and a decision log."""
    async with gateway(own_store, api_keys_file=keys_file(tmp_path), store_dir=tmp_path / "store", cache_s=60) as made:
        yield made


def keys_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text(f"root:{ROOT}\n")
    path.chmod(0o600)
    return path


async def issued(running: Gateway, name: str) -> dict[str, str]:
    response = await running.client.post("/v1/keys", json={"name": name}, headers=ADMIN)
    return {"X-API-Key": response.json()["key"]}


async def post(running: Gateway, headers: dict[str, str], path: str = "", **changes: Any) -> httpx.Response:
    body = {"items": [EXAMPLE_BODY | changes]} if path == "/batch" else EXAMPLE_BODY | changes
    response = await running.client.post(f"{PATH}{path}", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


async def page(running: Gateway, headers: dict[str, str], **query: Any) -> Json:
    response = await running.client.get(PATH, params=query, headers=headers)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


async def test_an_answer_is_retrieved_by_its_id(running: Gateway) -> None:
    ann = await issued(running, "ann")
    answer = (await post(running, ann, detail="full")).json()
    response = await running.client.get(f"{PATH}/{answer['id']}", headers=ann)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    principal = {"id": ann["X-API-Key"].split("_")[1], "name": "ann"}
    assert response.json() == {"principal": principal, "cached": False, "recommendation": answer, "feedback": []}
    assert ann["X-API-Key"] not in response.text
    RECOMMENDATION.validate_json(json.dumps(response.json()["recommendation"]))


async def test_a_looked_up_answer_keeps_the_source_of_its_metrics(running: Gateway) -> None:
    body = {"ticker": "AAPL", "detail": "brief"}
    answer = (await running.client.post(PATH, json=body, headers=ADMIN)).json()
    logged = (await running.client.get(f"{PATH}/{answer['id']}", headers=ADMIN)).json()
    assert logged["principal"] == {"id": "file:root", "name": "root"}
    assert logged["recommendation"]["metrics_source"]["provider"] == "sample"
    assert logged["recommendation"]["metrics"] == answer["metrics"]


async def test_streamed_batched_cached_and_compared_answers_are_logged(running: Gateway) -> None:
    streamed = await post(running, ADMIN, detail="full", stream=True)
    last = json.loads(streamed.text.rstrip().rpartition("data: ")[2])
    batched = json.loads((await post(running, ADMIN, "/batch")).text.splitlines()[0])["answer"]
    cached = (await post(running, ADMIN)).json()
    compared = (await running.client.post("/v1/comparisons", json=EXAMPLE_BODY, headers=ADMIN)).json()
    sides = [side["answer"] for side in compared["sides"].values()]
    assert (batched["source"], cached["source"]) == ("model", "cache")
    logged = (await page(running, ADMIN))["recommendations"]
    by_id = {each["recommendation"]["id"]: each for each in logged}
    assert by_id.keys() == {each["id"] for each in (last, batched, cached, *sides)}
    for each in (last, batched, cached, *sides):
        assert by_id[each["id"]]["recommendation"] == each
        assert by_id[each["id"]]["cached"] is (each is cached)


async def test_a_repeated_request_is_logged_once(running: Gateway) -> None:
    for _ in range(2):
        answer = (await post(running, ADMIN | {"Idempotency-Key": "once"})).json()
    assert [each["recommendation"] for each in (await page(running, ADMIN))["recommendations"]] == [answer]


async def test_a_failed_request_is_not_logged(running: Gateway) -> None:
    response = await running.client.post(PATH, json={"ticker": "NOSUCH"}, headers=ADMIN)
    assert response.status_code == 404
    assert await page(running, ADMIN) == {"recommendations": [], "next": None}


async def test_keys_see_their_own_and_admins_all(running: Gateway) -> None:
    ann, bob = await issued(running, "ann"), await issued(running, "bob")
    own, other = (await post(running, ann)).json(), (await post(running, bob)).json()

    async def seen(headers: dict[str, str]) -> set[str]:
        return {each["recommendation"]["id"] for each in (await page(running, headers))["recommendations"]}

    assert await seen(ann) == {own["id"]}
    assert await seen(bob) == {other["id"]}
    assert await seen(ADMIN) == {own["id"], other["id"]}
    documents = []
    for unseen in (other["id"], f"{PREFIX}{'0' * 32}", "rec_", "%00", "é", "0" * 5000):
        response = await running.client.get(f"{PATH}/{unseen}", headers=ann | {"X-Request-Id": "one"})
        documents.append(assert_problem(response, 404, "not_found"))
    assert all(document == documents[0] for document in documents)
    assert_problem(await running.client.get(f"{PATH}/{own['id']}"), 401, "unauthorized")


async def test_pages_follow_the_cursor_of_their_own_query_only(running: Gateway) -> None:
    ann, bob = await issued(running, "ann"), await issued(running, "bob")
    made = [(await post(running, ann, ticker=ticker)).json()["id"] for ticker in ("AAA", "BBB", "AAA", "AAA", "BBB")]
    query: Json = {"ticker": "aaa", "limit": 2}
    first = await page(running, ann, **query)
    second = await page(running, ann, **query, cursor=first["next"])
    found = [each["recommendation"]["id"] for each in (*first["recommendations"], *second["recommendations"])]
    assert found == [made[3], made[2], made[0]]
    assert second["next"] is None
    assert len((await page(running, ann, ticker="AAA", limit=1, cursor=first["next"]))["recommendations"]) == 1
    for wrong in ({"ticker": "BBB"}, {}, {"ticker": "AAA", "action": "buy"}, {"ticker": "AAA", "to": "2099-01-01"}):
        response = await running.client.get(PATH, params={**wrong, "cursor": first["next"]}, headers=ann)
        assert_problem(response, 422, "invalid_request", "cursor")
    of_another_key = await running.client.get(PATH, params={**query, "cursor": first["next"]}, headers=bob)
    assert_problem(of_another_key, 422, "invalid_request", "cursor")


async def test_an_invalid_query_is_refused(running: Gateway) -> None:
    for query in (
        {"ticker": "BRK/B"},
        {"backend": "gpt-5"},
        {"action": "short"},
        {"from": "yesterday"},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"limit": "0"},
        {"limit": "201"},
        {"cursor": "AAAA"},
        {"cursor": "A" * 44},
        {"principal": "ann"},
        {"action": ["buy", "sell"]},
    ):
        assert_problem(await running.client.get(PATH, params=query, headers=ADMIN), 422, "invalid_request")


async def test_the_other_methods_of_these_paths_stay(running: Gateway) -> None:
    response = await running.client.get(f"{PATH}/batch", headers=ADMIN)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"
    response = await running.client.delete(PATH, headers=ADMIN)
    assert response.headers["Allow"] == "GET, HEAD, POST"


async def test_a_log_that_is_off_is_a_conflict(own_store: str) -> None:
    async with gateway(own_store, decision_log="off") as running:
        assert (await ask(running)).status_code == 200
        for path in (PATH, f"{PATH}/{PREFIX}{'0' * 32}"):
            assert_problem(await running.client.get(path), 409, "conflict", "CONVICTION_DECISION_LOG")


async def test_a_required_log_that_fails_answers_503_and_asks_no_model(
    own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    settings: Json = {"store_dir": tmp_path, "decision_log": "required"}
    async with gateway(own_store, **settings) as running:
        await until(lambda: running.resources.decisions.problem is None)
        broken = True

        def fail(*_: object) -> None:
            if broken:
                raise OSError("the disk has failed")

        event.listen(Engine, "checkout", fail)
        try:
            bodies = {
                PATH: EXAMPLE_BODY,
                "/v1/comparisons": EXAMPLE_BODY,
                f"{PATH}/batch": {"items": [EXAMPLE_BODY]},
            }
            # The first is noticed when its answer is written; no other reaches a model.
            assert_problem(await ask(running), 503, "decision_log_unavailable")
            asked = running.asked
            assert asked == 1
            for path, body in bodies.items():
                response = await running.client.post(path, json=body)
                assert "decision_log_unavailable" in response.text
                assert "the disk has failed" not in response.text
            streamed = await ask(running, EXAMPLE_BODY | {"stream": True})
            assert_problem(streamed, 503, "decision_log_unavailable")
            assert running.asked == asked
            ready = (await running.client.get("/health/ready")).json()
            assert ready["components"]["decision_log"]["ready"] is False
            broken = False
            await until(lambda: running.resources.decisions.problem is None)
        finally:
            event.remove(Engine, "checkout", fail)
        answer = (await ask(running)).json()
        assert (await running.client.get(f"{PATH}/{answer['id']}")).json()["recommendation"] == answer


TEXTS = st.none() | st.text(max_size=5)
TIMES = st.none() | st.integers(-(2**60), 2**60)
SELECTIONS = st.builds(
    Selection, TEXTS, TEXTS, st.sampled_from([None, "mistral"]), st.sampled_from([None, "buy"]), TIMES, TIMES
)
POSITIONS = st.builds(
    Position, st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16).map(lambda own: PREFIX + own.hex())
)


@given(POSITIONS, SELECTIONS, SELECTIONS)
def test_a_cursor_is_that_of_one_selection(position: Position, one: Selection, other: Selection) -> None:
    cursor = encode_cursor(position, one)
    assert PATTERN.fullmatch(cursor)
    assert decode_cursor(cursor, one) == position
    if one != other:
        with pytest.raises(InvalidRequest, match="of the same query"):
            decode_cursor(cursor, other)


@given(st.text(max_size=60))
def test_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor(text, Selection())

"""POST /v1/feedback over HTTP: one verdict and one outcome per horizon, by the keys that may read the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_bad_input import assert_problem
from tests.api.test_decisions import ADMIN, PATH, issued, keys_file, page, post
from tests.doubles import Gateway, gateway

Json = dict[str, Any]
GOOD: Json = {"verdict": {"helpful": True}}
RETURN: Json = {"outcome": {"sessions": 5, "realised_return": -0.0215}}


@pytest.fixture
async def running(own_store: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with keys and a decision log."""
    async with gateway(own_store, api_keys_file=keys_file(tmp_path), store_dir=tmp_path / "store") as made:
        yield made


async def send(running: Gateway, recommendation_id: str, headers: dict[str, str], **said: Any) -> httpx.Response:
    body = {"recommendation_id": recommendation_id, **said}
    return await running.client.post("/v1/feedback", json=body, headers=headers)


async def feedback(running: Gateway, recommendation_id: str, headers: dict[str, str] = ADMIN) -> list[Json]:
    response = await running.client.get(f"{PATH}/{recommendation_id}", headers=headers)
    assert response.status_code == 200, response.text
    found: list[Json] = response.json()["feedback"]
    return found


async def test_a_verdict_and_outcomes_are_returned_with_the_recommendation(running: Gateway) -> None:
    ann = await issued(running, "ann")
    of = (await post(running, ann)).json()["id"]
    long = {"sessions": 20, "realised_return": 0.1}
    comment = "late\u0000 \N{GRINNING FACE}"
    sent = [
        await send(running, of, ann, verdict={"helpful": False, "comment": comment}),
        await send(running, of, ann, **RETURN),
        await send(running, of, ann, outcome=long),
        await send(running, of, ADMIN, **GOOD),
    ]
    assert [response.status_code for response in sent] == [200] * 4
    stored = [response.json() for response in sent]
    assert await feedback(running, of) == await feedback(running, of, ann) == stored
    assert [each["principal"]["name"] for each in stored] == ["ann", "ann", "ann", "root"]
    assert stored[0]["verdict"] == {"helpful": False, "comment": comment}
    assert (stored[0]["outcome"], stored[1]["verdict"]) == (None, None)
    assert [each["outcome"] for each in stored[1:3]] == [RETURN["outcome"], long]
    assert stored[3]["verdict"] == {"helpful": True, "comment": None}
    assert sorted(stored, key=lambda each: each["created_at"]) == stored
    listed = (await page(running, ann))["recommendations"]
    assert [each["recommendation"]["id"] for each in listed] == [of]


@pytest.mark.parametrize(
    ("said", "other"),
    [
        (GOOD, {"verdict": {"helpful": False}}),
        (GOOD, {"verdict": {"helpful": True, "comment": "why"}}),
        (RETURN, {"outcome": {"sessions": 5, "realised_return": 0.0}}),
    ],
)
async def test_a_repeat_changes_nothing_and_other_content_is_a_conflict(
    said: Json, other: Json, running: Gateway
) -> None:
    of = (await post(running, ADMIN)).json()["id"]
    first = await send(running, of, ADMIN, **said)
    again = await send(running, of, ADMIN, **said)
    assert (again.status_code, again.json()) == (200, first.json())
    assert_problem(await send(running, of, ADMIN, **other), 409, "feedback_conflict")
    assert await feedback(running, of) == [first.json()]


async def test_an_unknown_and_a_foreign_id_are_not_found(running: Gateway) -> None:
    ann, bob = await issued(running, "ann"), await issued(running, "bob")
    of = (await post(running, ann)).json()["id"]
    documents = []
    for unseen, headers in ((of, bob), (f"rec_{'0' * 32}", ann), ("", ann), ("é" * 1000, ann)):
        response = await send(running, unseen, headers | {"X-Request-Id": "one"}, **GOOD)
        documents.append(assert_problem(response, 404, "not_found"))
    assert all(document == documents[0] for document in documents)
    assert await feedback(running, of) == []
    assert_problem(await send(running, of, {}, **GOOD), 401, "unauthorized")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, ""),
        (GOOD | RETURN, ""),
        ({"verdict": {}}, "verdict.helpful"),
        ({"verdict": {"helpful": "yes"}}, "verdict.helpful"),
        ({"verdict": {"helpful": True, "comment": "x" * 1001}}, "verdict.comment"),
        ({"verdict": {"helpful": True, "comment": ""}}, "verdict.comment"),
        ({"outcome": {"sessions": 0, "realised_return": 0.1}}, "outcome.sessions"),
        ({"outcome": {"sessions": 253, "realised_return": 0.1}}, "outcome.sessions"),
        ({"outcome": {"sessions": 5, "realised_return": -1.1}}, "outcome.realised_return"),
        ({"outcome": {"sessions": 5, "realised_return": "0.1"}}, "outcome.realised_return"),
        ({"outcome": {"sessions": 5}}, "outcome.realised_return"),
        ({**GOOD, "more": 1}, "more"),
    ],
)
async def test_invalid_feedback_is_refused(said: Json, field: str, running: Gateway) -> None:
    of = (await post(running, ADMIN)).json()["id"]
    response = await send(running, of, ADMIN, **said)
    assert_problem(response, 422, "invalid_request", *([field] if field else []))
    assert await feedback(running, of) == []


async def test_without_a_log_feedback_is_a_conflict(own_store: str) -> None:
    async with gateway(own_store, decision_log="off") as running:
        assert_problem(await send(running, f"rec_{'0' * 32}", {}, **GOOD), 409, "conflict")

"""`fields`: answers with the requested fields alone, wherever an answer is returned."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from app.api.answer_fields import FIELDS
from tests.api.test_bad_input import assert_problem
from tests.doubles import EXAMPLE_BODY, Gateway, gateway

PATH = "/v1/recommendations"


@pytest.fixture
async def running(own_store: str) -> AsyncIterator[Gateway]:
    async with gateway(own_store, cache_s=60) as running:
        yield running


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("fields=action", ["action"]),
        ("fields=conviction,action", ["action", "conviction"]),
        ("fields=action&fields=cost,%20id", ["id", "action", "cost"]),
        (f"fields={','.join(FIELDS)}", FIELDS),
        ("", FIELDS),
    ],
)
async def test_an_answer_has_the_requested_fields_in_their_usual_order(
    running: Gateway, query: str, names: list[str]
) -> None:
    whole = (await running.client.post(PATH, json=EXAMPLE_BODY)).json()
    answer = (await running.client.post(f"{PATH}?{query}", json=EXAMPLE_BODY)).json()
    assert list(answer) == names
    assert answer["action"] == whole["action"]


async def test_streams_and_batches_have_them_too(running: Gateway) -> None:
    stream = await running.client.post(f"{PATH}?fields=action", json=EXAMPLE_BODY | {"stream": True})
    action = json.loads(stream.text.rpartition("event: recommendation\ndata: ")[2])
    assert list(action) == ["action"]
    batch = await running.client.post(f"{PATH}/batch?fields=action", json={"items": [EXAMPLE_BODY]})
    first, last = (json.loads(line) for line in batch.text.splitlines())
    assert first == {"index": 0, "status": 200, "answer": action}
    assert float(last["summary"]["usd"]) >= 0


@pytest.mark.parametrize("query", ["fields=", "fields=actions", "fields=action,,id", "fields=action&fields=cost.usd"])
async def test_an_unknown_field_is_refused_with_the_names_there_are(running: Gateway, query: str) -> None:
    for path, body in ((PATH, EXAMPLE_BODY), (f"{PATH}/batch", {"items": [EXAMPLE_BODY]})):
        response = await running.client.post(f"{path}?{query}", json=body)
        assert_problem(response, 422, "invalid_request", "fields")
        assert all(name in response.json()["detail"] for name in FIELDS)
    assert running.asked == 0


async def test_an_idempotency_key_stands_for_the_fields_too(running: Gateway) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await running.client.post(f"{PATH}?fields=id", json=EXAMPLE_BODY, headers=headers)
    again = await running.client.post(f"{PATH}?fields=id", json=EXAMPLE_BODY, headers=headers)
    assert first.json() == again.json()
    other = await running.client.post(PATH, json=EXAMPLE_BODY, headers=headers)
    assert_problem(other, 409, "idempotency_conflict")

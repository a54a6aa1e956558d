"""/v1/keys: authorization, validation, and secrets that are returned once."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.auth import key_store as keys
from app.auth.key_cache import FRESH_S
from app.auth.key_store import RECORDS
from app.main import create_app
from app.settings.gateway import Settings
from tests.api.test_bad_input import assert_problem
from tests.conftest import served
from tests.doubles import Gateway, ask, gateway, opened_with

ROOT = "root-key-0123456789abcdef"
PATH = "/v1/keys"
ADMIN = {"X-API-Key": ROOT}


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"root:{ROOT}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
async def running(store_url: str, keys_file: Path) -> AsyncIterator[Gateway]:
    async with gateway(store_url, api_keys_file=keys_file) as running:
        await running.resources.keys.store._redis.delete(RECORDS)
        yield running


async def issue(running: Gateway, **wanted: object) -> dict[str, Any]:
    response = await running.client.post(PATH, json={"name": "ann"} | wanted, headers=ADMIN)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    answer: dict[str, Any] = response.json()
    return answer


async def listed(running: Gateway) -> list[dict[str, Any]]:
    page = (await running.client.get(PATH, headers=ADMIN)).json()
    assert page["next"] is None
    found: list[dict[str, Any]] = page["keys"]
    return found


async def test_a_key_is_issued_opens_is_revoked_and_opens_no_more(running: Gateway) -> None:
    answer = await issue(running)
    key, record = answer["key"], answer["record"]
    assert key.startswith(f"cvk_{record['id']}_")
    assert (await ask(running, X_API_Key=key)).status_code == 200
    for _ in range(2):
        response = await running.client.delete(f"{PATH}/{record['id']}", headers=ADMIN)
        assert (response.status_code, response.content) == (204, b"")
        assert_problem(await ask(running, X_API_Key=key), 401, "unauthorized")


async def test_the_scope_of_an_issued_key_is_returned_and_listed(running: Gateway) -> None:
    wanted = {
        "name": "Zoë, nightly",
        "backends": ["gpt-4", "mistral", "gpt-4"],
        "admin": True,
        "chat": False,
        "requests_per_minute": 60,
        "tokens_per_minute": 90_000,
        "usd_per_day": "25.000000001",
    }
    record = (await issue(running, **wanted))["record"]
    assert record | {"backends": ["gpt-4", "mistral"]} == record
    assert {name: record[name] for name in wanted if name != "backends"} == without_backends(wanted)
    assert (record["created_by"], record["revoked"]) == ("file:root", None)
    bare = (await issue(running))["record"]
    assert [bare[name] for name in wanted] == ["ann", None, False, True, None, None, None]
    assert await listed(running) == sorted([record, bare], key=lambda key: key["id"])


def without_backends(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "backends"}


async def test_a_secret_is_returned_once_and_neither_it_nor_its_hash_again(
    running: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await issue(running, admin=True)
    text = keys.KeyText.parse(answer["key"])
    assert text is not None
    own = {"Authorization": f"Bearer {answer['key']}"}
    said = [
        (await running.client.get(PATH, headers=own)).text,
        (await running.client.post(PATH, json={"name": 5}, headers=own)).text,
        (await running.client.delete(f"{PATH}/{text.reveal()[:20]}", headers=own)).text,
        (await running.client.delete(f"{PATH}/{text.id}", headers=own)).text,
        (await running.client.get(PATH, headers=own)).text,
        repr(running.resources.keys),
        repr(vars(running.resources.keys)),
        str([vars(record) for record in caplog.records if record.name.startswith("app.")]),
        caplog.text,
    ]
    assert "401" not in said[0]
    assert "unauthorized" in said[4]
    for words in said:
        assert text.secret not in words
        assert text.digest() not in words


async def test_a_whole_key_in_the_path_is_not_repeated_in_the_answer(running: Gateway) -> None:
    key = (await issue(running))["key"]
    response = await running.client.delete(f"{PATH}/{key}", headers=ADMIN)
    assert key not in assert_problem(response, 404, "not_found")["detail"]


async def test_issuing_and_revoking_are_logged_by_id(running: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    key_id = (await issue(running))["record"]["id"]
    await running.client.delete(f"{PATH}/{key_id}", headers=ADMIN)
    own = [record for record in caplog.records if record.name == "app.api.keys"]
    assert [(record.message, vars(record)["key_id"], vars(record)["by"]) for record in own] == [
        ("key issued", key_id, "file:root"),
        ("key revoked", key_id, "file:root"),
    ]


async def test_only_admins_manage_keys_and_an_issued_one_may_be_one(running: Gateway) -> None:
    plain = {"X-API-Key": (await issue(running))["key"]}
    for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/{'0' * 12}")):
        response = await running.client.request(method, path, headers=plain, json={"name": "bob"})
        assert_problem(response, 403, "forbidden", "admin")
        assert_problem(await running.client.request(method, path, json={"name": "bob"}), 401, "unauthorized")
    assert len(await listed(running)) == 1
    admin = {"X-API-Key": (await issue(running, admin=True))["key"]}
    response = await running.client.post(PATH, json={"name": "bob"}, headers=admin)
    assert response.status_code == 201
    assert response.json()["record"]["created_by"] == admin["X-API-Key"][4:16]


async def test_the_error_without_keys_names_the_setting(store_url: str) -> None:
    async with gateway(store_url) as running:
        for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/{'0' * 12}")):
            response = await running.client.request(method, path, json={"name": "ann"})
            assert_problem(response, 409, "conflict", "keys are off", "CONVICTION_API_KEYS_FILE")


async def test_a_key_of_the_file_is_not_revoked_here(running: Gateway) -> None:
    for path in (f"{PATH}/file:root", f"{PATH}/file%3Aroot"):
        assert_problem(await running.client.delete(path, headers=ADMIN), 409, "conflict", "keys file")
    assert await listed(running) == []


@pytest.mark.parametrize("key_id", ["0" * 12, "0" * 11, "ann", "%00", "..%2Fbackends", "é", "0" * 5000])
async def test_an_unknown_key_cannot_be_revoked(running: Gateway, key_id: str) -> None:
    assert_problem(await running.client.delete(f"{PATH}/{key_id}", headers=ADMIN), 404, "not_found")


WRONG: dict[str, tuple[object, tuple[str, ...]]] = {
    "no object": ([], ("the body must be a JSON object",)),
    "no name": ({}, ("name is missing",)),
    "empty name": ({"name": ""}, ("name must be 1 to 64 printable characters",)),
    "long name": ({"name": "x" * 65}, ("name must be 1 to 64",)),
    "edged name": ({"name": " ann"}, ("without leading or trailing spaces",)),
    "escape sequence": ({"name": "a\x1b[31m"}, ("name must be",)),
    "reversed text": ({"name": "a\u202eb"}, ("name must be",)),
    "a number for a name": ({"name": 5}, ("name must be a string",)),
    "unknown backend": ({"name": "a", "backends": ["gpt-5"]}, ("backends.0", "'gpt-4' or 'candidate'")),
    "no backend": ({"name": "a", "backends": []}, ("backends", "at least 1")),
    "admin in words": ({"name": "a", "admin": "yes"}, ("admin must be true or false",)),
    "no request": ({"name": "a", "requests_per_minute": 0}, ("requests_per_minute must be a whole number from 1 to",)),
    "half a token": ({"name": "a", "tokens_per_minute": 0.5}, ("tokens_per_minute must be a whole number from 1",)),
    "true requests": ({"name": "a", "requests_per_minute": True}, ("requests_per_minute must be a whole number",)),
    "a number of dollars": ({"name": "a", "usd_per_day": 5}, ("usd_per_day must be a string",)),
    "less than nothing": ({"name": "a", "usd_per_day": "-1"}, ("usd_per_day must be a decimal number from 0",)),
    "too fine": ({"name": "a", "usd_per_day": "0.0000000001"}, ("usd_per_day must be a decimal number",)),
    "too much": ({"name": "a", "usd_per_day": "1000000"}, ("usd_per_day must be a decimal number",)),
    "infinite": ({"name": "a", "usd_per_day": "Infinity"}, ("usd_per_day must be a decimal number",)),
    "unknown field": ({"name": "a", "expires": "2027-01-01"}, ("expires is not known",)),
    "all together": (
        {"name": "", "admin": 1, "usd_per_day": "x", "requests_per_minute": "1", "key": "mine"},
        ("name must", "admin must", "usd_per_day must", "requests_per_minute must", "key is not known"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_each_invalid_field_is_named(running: Gateway, case: str) -> None:
    body, said = WRONG[case]
    response = await running.client.post(PATH, json=body, headers=ADMIN)
    problem = assert_problem(response, 422, "invalid_request", *said)
    assert len(problem["errors"]) == (5 if case == "all together" else 1)
    assert await listed(running) == []


async def test_a_body_that_is_no_json_is_refused_as_elsewhere(running: Gateway) -> None:
    response = await running.client.post(PATH, content=b"name=ann", headers=ADMIN)
    assert_problem(response, 415, "unsupported_media_type")
    response = await running.client.post(PATH, content=b"{", headers=ADMIN | {"Content-Type": "application/json"})
    assert_problem(response, 422, "invalid_request", "not valid JSON")


async def test_many_keys_are_listed_page_by_page(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PAGE_SIZE", 4)
    issued = {(await issue(running))["record"]["id"] for _ in range(10)}
    found, after = [], ""
    while after is not None:
        page = (await running.client.get(PATH, params={"after": after} if after else {}, headers=ADMIN)).json()
        assert len(page["keys"]) <= 4
        found += [key["id"] for key in page["keys"]]
        after = page["next"]
    assert found == sorted(issued)


async def test_keys_cannot_be_managed_without_the_store(keys_file: Path) -> None:
    async with gateway("redis://127.0.0.1:1", api_keys_file=keys_file) as running:
        for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/{'0' * 12}")):
            response = await running.client.request(method, path, headers=ADMIN, json={"name": "ann"})
            assert_problem(response, 503, "store_unavailable", "the key store does not answer")


async def test_the_response_states_whether_a_key_is_persistent(store_url: str, keys_file: Path, tmp_path: Path) -> None:
    for settings, lasting in (({}, False), ({"redis_url": store_url}, True), ({"store_dir": tmp_path}, True)):
        async with gateway(store_url, api_keys_file=keys_file, **settings) as running:
            assert (await issue(running))["lasting"] is lasting


def test_a_revocation_is_in_force_five_seconds_later_at_every_gateway(store_url: str, keys_file: Path) -> None:
    settings = Settings.model_validate({"market": "sample", "api_keys_file": keys_file})
    here, there = (served(create_app(settings, opened_with(store_url, {})), lifespan="on") for _ in range(2))
    with here as here_url, there as there_url, httpx.Client(headers=ADMIN) as admin:
        answer = admin.post(f"{here_url}{PATH}", json={"name": "ann"}).json()
        key = {"X-API-Key": answer["key"]}
        for url in (here_url, there_url):
            assert httpx.get(f"{url}/v1/backends", headers=key).status_code == 200
        assert admin.delete(f"{here_url}{PATH}/{answer['record']['id']}").status_code == 204
        revoked = time.monotonic()
        assert httpx.get(f"{here_url}/v1/backends", headers=key).status_code == 401
        while time.monotonic() < revoked + FRESH_S:
            httpx.get(f"{there_url}/v1/backends", headers=key)
            time.sleep(0.2)
        assert httpx.get(f"{there_url}/v1/backends", headers=key).status_code == 401


async def test_a_key_may_be_limited_to_recommendations(running: Gateway) -> None:
    chat = {"model": "mistral", "messages": [{"role": "user", "content": "Hello."}]}
    for permitted in (True, False):
        own = {"X-API-Key": (await issue(running, chat=permitted))["key"]}
        response = await running.client.post("/v1/chat/completions", json=chat, headers=own)
        assert response.status_code == (200 if permitted else 403)
        assert (await ask(running, X_API_Key=own["X-API-Key"])).status_code == 200
    assert response.json()["error"]["message"] == "this key may not send chat completions"
    assert len(running.mistral.chats) == 1

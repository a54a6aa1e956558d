"""Who may ask: holders of a key from the file or of one that was issued, or without keys this machine alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given

from app.auth.api_key import KeyGrant, KeyText
from app.auth.key_file import Keyring, load_keys
from app.errors import InvalidSettings
from app.pricing.limits import Limits
from tests.api.test_bad_input import assert_problem
from tests.auth.test_api_key import HOSTILE
from tests.doubles import ask, gateway

ANN, BOB = "ann-key-0123456789abcdef", "bob-key-0123456789abcdef"
GUARDED = ("/v1/backends", "/metrics", "/nothing", "/docs/nothing", "/openapi.json/")
DOCS = ("/openapi.json", "/docs", "/docs/assets/swagger-ui.css")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# principals\nann:{ANN}\n\n{BOB}\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ANN}"},
        {"authorization": f"bearer  {BOB}"},
        {"X-API-Key": ANN},
    ],
)
async def test_a_key_opens(store_url: str, keys_file: Path, headers: dict[str, str]) -> None:
    async with gateway(store_url, api_keys_file=keys_file, host="gateway.example") as running:
        assert (await ask(running, **headers)).status_code == 200
        assert running.asked == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-key-0123456789abcdef"},
        {"Authorization": f"Basic {ANN}"},
        {"Authorization": ANN},
        {"X-API-Key": f"{ANN}x"},
        {"X-API-Key": "ann"},
        {"X-API-Key": ""},
    ],
)
async def test_without_a_known_key_nothing_opens(
    store_url: str, keys_file: Path, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(store_url, api_keys_file=keys_file) as running:
        response = await ask(running, **headers)
        assert_problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        for path in GUARDED:
            assert_problem(await running.client.get(path, headers=headers), 401, "unauthorized")
        assert running.asked == 0
        for path in ("/health/live", "/health/ready"):
            assert (await running.client.get(path, headers=headers)).status_code == 200
    assert ANN not in caplog.text
    assert "wrong-key" not in caplog.text


async def test_the_documentation_needs_a_key_where_the_settings_close_it(store_url: str, keys_file: Path) -> None:
    for open_docs, status in ((True, 200), (False, 401)):
        async with gateway(store_url, api_keys_file=keys_file, open_docs=open_docs) as running:
            for path in DOCS:
                assert (await running.client.get(path)).status_code == status
                assert (await running.client.get(path, headers={"X-API-Key": ANN})).status_code == 200


async def test_the_principal_is_in_the_log_and_the_key_is_not(
    store_url: str, keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(store_url, api_keys_file=keys_file) as running:
        await ask(running, X_API_Key=ANN)
    assert [record.principal for record in caplog.records if record.message == "request"] == ["ann"]  # type: ignore[attr-defined]
    assert ANN not in caplog.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"])
async def test_without_keys_requests_to_localhost_are_answered(store_url: str, host: str) -> None:
    async with gateway(store_url) as running:
        assert (await ask(running, Host=host)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "[::2]", ""])
async def test_without_keys_other_names_for_it_are_refused(store_url: str, host: str) -> None:
    async with gateway(store_url) as running:
        assert_problem(await ask(running, Host=host), 403, "forbidden")
        assert_problem(await running.client.get("/health/live", headers={"Host": host}), 403, "forbidden")
        assert running.asked == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no key"),
        ("# no names\n\n", "no key"),
        ("ann:short", "line 1"),
        (f"ann:{ANN}\nbob:two words are no key", "line 2"),
        (f":{ANN}", "line 1"),
        (f"ann:{ANN}\nann:{BOB}", "line 2 repeats"),
        (f"ann:{ANN}\nbob:{ANN}", "line 2 repeats"),
        ("ann:schlüssel-0123456789", "line 1"),
    ],
)
def test_a_bad_keys_file_is_refused_at_the_start(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InvalidSettings, match=said) as refused:
        load_keys(file, Limits())
    assert "CONVICTION_API_KEYS_FILE" in refused.value.detail
    assert "0123456789" not in refused.value.detail


def test_a_keys_file_that_others_can_read_is_warned_of(keys_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys_file.chmod(0o644)
    assert load_keys(keys_file, Limits()) is not None
    assert "chmod 600" in caplog.text


@given(HOSTILE)
def test_hostile_text_is_not_a_key_and_raises_nothing(text: str) -> None:
    keys = Keyring({"ann": ANN}, Limits())
    assert (keys.principal(text) is None) == (text != ANN)


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer cvk_0123456789ab_" + b"x" * 43,
        b"Bearer cvk_0123456789ab_" + b"x" * 60_000,
        b"Bearer \xff\xfe\x80",
        b"\xff" * 100,
        "Bearer cvk_0123456789ab_schlüssel".encode(),
    ],
)
async def test_hostile_headers_are_refused_like_any_wrong_key(store_url: str, keys_file: Path, header: bytes) -> None:
    async with gateway(store_url, api_keys_file=keys_file) as running:
        for name in (b"authorization", b"x-api-key"):
            response = await running.client.get("/v1/backends", headers=[(name, header)])
            assert_problem(response, 401, "unauthorized")


async def test_an_issued_key_opens_in_either_header(store_url: str, keys_file: Path) -> None:
    async with gateway(store_url, api_keys_file=keys_file) as running:
        text, _ = await running.resources.keys.store.issue(KeyGrant(name="cat"), "file:ann")
        for headers in ({"Authorization": f"Bearer {text.reveal()}"}, {"X-API-Key": text.reveal()}):
            assert (await ask(running, **headers)).status_code == 200
        wrong = f"cvk_{text.id}_{KeyText.new().secret}"
        for headers in ({"Authorization": f"Bearer {wrong}"}, {"X-API-Key": wrong}):
            assert_problem(await ask(running, **headers), 401, "unauthorized")


async def test_without_the_store_file_keys_are_valid_and_issued_keys_get_a_503(
    keys_file: Path,
) -> None:
    async with gateway("redis://127.0.0.1:1", api_keys_file=keys_file) as running:
        for key in (ANN, BOB):
            headers = {"X-API-Key": key, "Authorization": f"Bearer {KeyText.new().reveal()}"}
            assert (await running.client.get("/v1/backends", headers=headers)).status_code == 200
        response = await running.client.get("/v1/backends", headers={"X-API-Key": KeyText.new().reveal()})
        assert_problem(response, 503, "store_unavailable")
        assert response.headers["retry-after"] == "1"
        response = await running.client.get("/v1/backends", headers={"X-API-Key": "no-issued-key-0123"})
        assert_problem(response, 401, "unauthorized")


async def test_a_scope_holds_where_a_backend_is_chosen(store_url: str, keys_file: Path) -> None:
    async with gateway(store_url, api_keys_file=keys_file) as running:
        text, _ = await running.resources.keys.store.issue(
            KeyGrant(name="cat", backends=frozenset({"mistral"})), "file:ann"
        )
        key = text.reveal()
        assert (await ask(running, X_API_Key=key)).status_code == 200
        response = await ask(running, X_API_Key=key, X_Backend="GPT-4")
        assert_problem(response, 403, "forbidden", "may not use gpt-4; it may use mistral")
        assert running.backends["gpt-4"].asked == []
        labels = {"backend": "gpt-4", "detail": "unknown", "outcome": "forbidden"}
        assert running.sample("conviction_requests_total", **labels) == 1


async def test_the_log_names_the_principal_and_which_key_it_was(
    store_url: str, keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(store_url, api_keys_file=keys_file) as running:
        text, _ = await running.resources.keys.store.issue(KeyGrant(name="cat"), "file:ann")
        await ask(running, X_API_Key=text.reveal())
    (said,) = [vars(record) for record in caplog.records if record.message == "request"]
    assert (said["principal"], said["principal_id"]) == ("cat", text.id)
    everything = caplog.text + str([vars(record) for record in caplog.records])
    assert text.secret not in everything
    assert text.digest() not in everything

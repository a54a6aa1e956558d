"""Who may ask: key holders, or without keys this machine alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.api.keys_file import load_keys
from app.errors import InvalidSettings
from app.stores.allowance import Allowance
from tests.api.test_bad_input import assert_problem
from tests.doubles import ask, gateway

ANN, BOB = "ann-key-0123456789abcdef", "bob-key-0123456789abcdef"
GUARDED = ("/v1/backends", "/metrics", "/openapi.json", "/docs", "/docs/assets/swagger-ui.css", "/nothing")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# holders\nann:{ANN}\n\n{BOB}\n")
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


async def test_the_holder_is_in_the_log_and_the_key_is_not(
    store_url: str, keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(store_url, api_keys_file=keys_file) as running:
        await ask(running, X_API_Key=ANN)
    assert [record.holder for record in caplog.records if record.message == "request"] == ["ann"]  # type: ignore[attr-defined]
    assert ANN not in caplog.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"])
async def test_without_keys_this_machine_may_ask(store_url: str, host: str) -> None:
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
        ("# nobody\n\n", "no key"),
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
        load_keys(file, Allowance())
    assert "CONVICTION_API_KEYS_FILE" in refused.value.detail
    assert "0123456789" not in refused.value.detail


def test_a_missing_keys_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_keys(tmp_path / "nothing", Allowance())


def test_a_keys_file_that_others_can_read_is_warned_of(keys_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys_file.chmod(0o644)
    assert load_keys(keys_file, Allowance()) is not None
    assert "chmod 600" in caplog.text

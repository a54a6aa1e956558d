"""Secrets from files, the store's password, and the user that may serve: errors at start-up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.cli import main as cli
from app.errors import InvalidSettings
from app.settings.client import ClientSettings
from app.settings.gateway import load_settings
from app.settings.loading import load
from app.stores.connection import open_redis
from tests.valkey import KEPT, Valkey

SECRETS = ("OPENAI_API_KEY", "REDIS_URL", "REDIS_PASSWORD")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, "CONVICTION_API_KEY", "CONVICTION_HOST", "CONVICTION_API_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"OPENAI_API_KEY": "sk-1234567890", "REDIS_URL": "redis://store", "CONVICTION_API_KEY": "a-client-s-key"}
    for name, value in given.items():
        (tmp_path / name).write_text(value + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings, client = load_settings(), load(ClientSettings)
    read = (settings.openai_api_key, settings.redis_url, client.api_key)
    assert [secret.get_secret_value() for secret in read if secret] == list(given.values())
    assert not any(value in repr((settings, client)) for value in given.values())


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", [None, "", " \n", b"\xff\xfe"], ids=["absent", "empty", "blank", "no text"])
def test_a_file_that_is_named_must_hold_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    content: str | bytes | None,
) -> None:
    path = tmp_path / "hush"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.setenv(f"{name}_FILE", str(path))
    assert cli.main(["serve"]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"conviction: {name}_FILE: ")
    assert "write the secret into it" in output
    assert output.count("\n") == 1
    assert "hush" not in output


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1234567890")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0987654321")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(InvalidSettings, match="OPENAI_API_KEY_FILE: OPENAI_API_KEY is set as well"):
        load_settings()


def test_all_unusable_files_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(f"{name}_FILE", "/nowhere")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert all(f"{name}_FILE" in refused.value.detail for name in SECRETS)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://store:6379/0", "redis://:p%40ss%2Fword@store:6379/0"),
        ("rediss://gateway@store", "rediss://gateway:p%40ss%2Fword@store"),
        ("unix:///run/valkey.sock?db=1", "unix://:p%40ss%2Fword@/run/valkey.sock?db=1"),
    ],
)
def test_a_password_beside_the_url_goes_into_it(monkeypatch: pytest.MonkeyPatch, url: str, whole: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/word")
    found = load_settings().redis_url
    assert found is not None
    assert found.get_secret_value() == whole


def test_two_passwords_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hush@store")
    monkeypatch.setenv("REDIS_PASSWORD", "hush, too")
    with pytest.raises(InvalidSettings, match=r"REDIS_URL.*REDIS_PASSWORD") as refused:
        load_settings()
    assert "hush" not in refused.value.detail


async def test_a_store_is_opened_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    password = "p@ss:w/rd"
    with Valkey(tmp_path, KEPT) as server:
        async with Redis.from_url(server.url) as redis:
            await redis.config_set("requirepass", password)
        monkeypatch.setenv("REDIS_URL", server.url)
        monkeypatch.setenv("REDIS_PASSWORD", password)
        async with open_redis(load_settings().redis_url) as redis:
            assert await redis.ping()


def test_root_does_not_serve_where_that_is_not_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("CONVICTION_ALLOW_ROOT", "0")
    assert cli.main(["serve"]) == 2
    output = capsys.readouterr().err
    assert "root" in output
    assert "--user" in output
    assert "CONVICTION_ALLOW_ROOT=1" in output


@pytest.mark.parametrize("content", [None, "", "# none yet\n"])
def test_a_keys_file_without_a_key_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    monkeypatch.setenv("CONVICTION_API_KEYS_FILE", str(path))
    assert cli.main(["serve"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("conviction: CONVICTION_API_KEYS_FILE: ")
    assert "name:key" in output

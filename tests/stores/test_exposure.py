"""A store without a password: accepted and refused addresses."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from app.errors import InvalidSettings
from app.main import create_app
from app.settings.gateway import load_settings
from app.stores.exposure import require_password


@pytest.mark.parametrize(
    "url",
    [
        "redis://9.9.9.9:6379/0",
        "rediss://9.9.9.9",
        "redis://user@9.9.9.9",
        "redis://[2620:fe::fe]:6379",
        "redis://[::ffff:9.9.9.9]",
    ],
)
def test_a_public_address_needs_a_password(url: str) -> None:
    with pytest.raises(
        InvalidSettings, match=r"REDIS_URL.*requirepass.*REDIS_PASSWORD.*CONVICTION_ALLOW_OPEN_STORE"
    ) as no:
        require_password(SecretStr(url))
    assert "9.9.9.9" not in no.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://127.0.0.1:6379",
        "redis://10.1.2.3",
        "redis://172.31.0.4",
        "redis://192.168.1.1",
        "redis://100.64.0.9",
        "redis://[fd00::1]",
        "redis://[::ffff:10.0.0.1]",
        "unix:///run/valkey.sock",
        "redis://:hush@9.9.9.9",
        "rediss://user:hush@9.9.9.9/0",
        "redis://9.9.9.9?password=hush",
    ],
)
def test_other_addresses_are_accepted(url: str) -> None:
    require_password(SecretStr(url))


def test_an_unresolved_name_is_accepted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require_password(SecretStr("redis://store.invalid"))
    assert "REDIS_URL" in caplog.text


def test_the_gateway_refuses_an_exposed_store_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://9.9.9.9")
    with pytest.raises(InvalidSettings, match="REDIS_URL"):
        create_app(load_settings())
    monkeypatch.setenv("REDIS_PASSWORD", "hush")
    create_app(load_settings())
    monkeypatch.delenv("REDIS_PASSWORD")
    monkeypatch.setenv("CONVICTION_ALLOW_OPEN_STORE", "1")
    create_app(load_settings())

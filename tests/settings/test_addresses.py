"""Addresses and proxies are usable, or refused at the start by the name of their variable and without their value."""

from __future__ import annotations

import os

import pytest

from app.cli import main as cli
from app.errors import InvalidSettings
from app.settings.addresses import proxy_for, require_address
from app.settings.client import ClientSettings
from app.settings.gateway import load_settings
from app.settings.loading import load

URLS = ["CONVICTION_VLLM_URLS", "OPENAI_BASE_URL", "CONVICTION_URL"]
UNUSABLE = [
    "http://user:hush@host/v1",
    "http://hush@host/v1",
    "http://host:hush/v1",
    "http://host:70000",
    "http://host:0",
    "http://host:-1",
    "http://",
    "http:///v1",
    "http://:8000",
    "http://[::1/hush",
    "http://[hush]/",
    "http://ho st/",
    "http://host/\thush",
    "http://host..hush/",
    f"http://{'hush' * 20}.com/",
    "http://hush$/",
    "http://host/v1?key=hush",
    "http://host/v1#hush",
]
USABLE = [
    "http://a_b.c-d:1/v1",
    "https://[::1]:8000",
    "http://127.0.0.1",
    "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.de",
]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("CONVICTION_", "OPENAI_", "REDIS_")):
            monkeypatch.delenv(name)


def output_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(command.split()) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("variable", URLS)
@pytest.mark.parametrize("url", UNUSABLE)
def test_an_unusable_url_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    output = output_of("keys list" if variable == "CONVICTION_URL" else "serve", capsys)
    assert output.startswith(f"conviction: {variable}: ")
    assert "hush" not in output


@pytest.mark.parametrize("variable", URLS)
@pytest.mark.parametrize("url", USABLE)
def test_a_usable_url_is_taken(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    monkeypatch.setenv(variable, url)
    load_settings()
    load(ClientSettings)


@pytest.mark.parametrize("url", ["redis://host:hush/0", "redis://u:hush@host:70000", "rediss://", "redis://:hush@"])
def test_an_unusable_store_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    output = output_of("serve", capsys)
    assert output.startswith("conviction: REDIS_URL: ")
    assert "hush" not in output


def test_a_password_may_contain_what_an_address_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:a%23b@host:6379/1")
    load_settings()


def test_an_unusable_collector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:hush")
    with pytest.raises(InvalidSettings, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: "):
        load_settings()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://hush:1", "socks5h://hush:1", "http://hush:hush", "ftp://hush", "http://"])
def test_an_unusable_proxy_is_refused_where_it_would_be_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    load_settings()
    load(ClientSettings)
    monkeypatch.setenv("CONVICTION_URL", "https://gateway.example")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    for kind in (load_settings, lambda: load(ClientSettings)):
        with pytest.raises(InvalidSettings, match=f"^{variable.upper()}: ") as refused:
            kind()
        assert "hush" not in str(refused.value)
    monkeypatch.setenv("NO_PROXY", "api.openai.com,gateway.example")
    load_settings()
    load(ClientSettings)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"ALL_PROXY": "http://a:1"}, "http://a:1"),
        ({"all_proxy": "a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "https://u:p@b:2", "ALL_PROXY": "http://a:1"}, "https://u:p@b:2"),
        ({"HTTP_PROXY": "http://b:2", "ALL_PROXY": "http://a:1"}, "http://a:1"),
        ({"ALL_PROXY": "http://a:1", "NO_PROXY": "models.example"}, None),
    ],
)
def test_the_environment_s_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://models.example/v1") == proxy
    assert proxy_for("https://localhost/v1") is None


def test_a_key_of_the_client_is_taken_without_the_line_s_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVICTION_API_KEY", " cvk_1\r\n")
    key = load(ClientSettings).api_key
    assert key is not None
    assert key.get_secret_value() == "cvk_1"


@pytest.mark.parametrize("key", ["hush\nhush", "hush\x7f", "hush\N{RIGHTWARDS ARROW}"])
def test_a_key_that_no_header_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("CONVICTION_API_KEY", key)
    output = output_of("recommend SNPS", capsys)
    assert output.startswith("conviction: CONVICTION_API_KEY: ")
    assert "hush" not in output


def test_an_ipv6_zone_is_an_address() -> None:
    require_address("http://[fe80::1%eth0]:80")

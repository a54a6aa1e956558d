"""Settings from the environment, and the errors for invalid ones."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from app.cli import main as cli
from app.contract.fingerprint import fingerprint
from app.errors import InvalidSettings
from app.settings.addresses import is_loopback, proxy_for
from app.settings.client import ClientSettings
from app.settings.gateway import load_settings
from app.settings.loading import load

VARIABLES = """CONVICTION_VLLM_URLS OPENAI_API_KEY OPENAI_BASE_URL CONVICTION_GPT4_MODEL REDIS_URL CONVICTION_MARKET
CONVICTION_MARKET_DIR CONVICTION_MARKET_OPTIONS CONVICTION_MARKET_FALLBACK CONVICTION_API_KEYS_FILE CONVICTION_HOST
CONVICTION_PORT CONVICTION_DEFAULT_BACKEND CONVICTION_ALLOW_FOREIGN_MODEL CONVICTION_BACKEND_TIMEOUT_S
CONVICTION_FIRST_TOKEN_TIMEOUT_S CONVICTION_MODEL_STORE CONVICTION_HOSTING_USD_PER_HOUR
CONVICTION_CAPACITY_TOKENS_PER_HOUR CONVICTION_URL CONVICTION_API_KEY CONVICTION_CANDIDATE_URLS
CONVICTION_CANDIDATE_MODEL"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES.split():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_an_empty_environment_is_enough() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.default_backend) == ("127.0.0.1", 8080, "mistral")
    assert (settings.vllm_urls, settings.openai_api_key, settings.redis_url) == ((), None, None)
    assert (settings.gpt4_model, settings.market, settings.market_options) == ("gpt-4.1", "yfinance", "provider")


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {
        "CONVICTION_VLLM_URLS": " http://a:1/v1/ , https://b/v1 ",
        "OPENAI_API_KEY": "sk-1234567890",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/",
        "CONVICTION_GPT4_MODEL": "gpt-5.2",
        "REDIS_URL": "redis://:hush@store:6379/1",
        "CONVICTION_MARKET": "parquet",
        "CONVICTION_MARKET_DIR": str(tmp_path),
        "CONVICTION_MARKET_OPTIONS": "simulated",
        "CONVICTION_MARKET_FALLBACK": "sample",
        "CONVICTION_API_KEYS_FILE": str(tmp_path / "keys"),
        "CONVICTION_HOST": "0.0.0.0",
        "CONVICTION_PORT": "80",
        "CONVICTION_DEFAULT_BACKEND": "gpt-4",
        "CONVICTION_ALLOW_FOREIGN_MODEL": "1",
        "CONVICTION_BACKEND_TIMEOUT_S": "2.5",
        "CONVICTION_FIRST_TOKEN_TIMEOUT_S": "1.5",
        "CONVICTION_MODEL_STORE": "/models",
        "CONVICTION_HOSTING_USD_PER_HOUR": "0.7364",
        "CONVICTION_CAPACITY_TOKENS_PER_HOUR": "200000",
        "CONVICTION_CANDIDATE_URLS": "http://c:1/v1/",
        "CONVICTION_CANDIDATE_MODEL": "next",
    }
    assert set(given) == set(VARIABLES.split()) - {"CONVICTION_URL", "CONVICTION_API_KEY"}
    (tmp_path / "ohlcv.parquet").touch()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.vllm_urls == ("http://a:1/v1", "https://b/v1")
    assert settings.openai_base_url == "http://127.0.0.1:9/v1"
    assert settings.hosting_usd_per_hour == Decimal("0.7364")
    assert settings.allow_foreign_model is True
    assert (settings.candidate_urls, settings.candidate_model) == (("http://c:1/v1",), "next")
    assert settings.model_store == Path("/models")
    assert "hush" not in repr(settings)
    assert "sk-1234567890" not in repr(settings)


def test_a_key_is_taken_without_the_line_s_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1234567890\n")
    key = load_settings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1234567890"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES.split():
        monkeypatch.setenv(name, "")
    assert load_settings().openai_api_key is None
    assert load(ClientSettings).url == "http://127.0.0.1:8080"


WRONG = [
    ("CONVICTION_VLLM_URLS", "hush:8000"),
    *(("CONVICTION_VLLM_URLS", f"http://127.0.0.1:1/v1,{url}") for url in (
        "http://user:hush@vllm:8000/v1", "http://hush@vllm/v1", "http://vllm:hush/v1",
        "http://vllm:70000/v1", "http://vllm:0/v1", "http:///v1", "http://", "http://vllm/v1?hush=1",
        "http://vllm/v1#hush", "http://vllm/v1?", "http://[::1/v1", "http://hush host/v1",
    )),
    ("OPENAI_BASE_URL", "hush"),
    ("OPENAI_BASE_URL", "https://user:hush@api.example/v1"),
    ("REDIS_URL", "http://hush"),
    ("REDIS_URL", "redis+sentinel://:hush@store:26379/main"),
    ("REDIS_URL", "redis+cluster://:hush@store:6379"),
    ("REDIS_URL", "redis://:hush@store:port/0"),
    ("REDIS_URL", "redis://:hush@store:6379/zero"),
    ("REDIS_URL", "redis://:hush@store:6379?db=hush"),
    ("REDIS_URL", "redis://:hush@store:6379?hush=1"),
    ("REDIS_URL", "redis://:hush@store:6379?socket_timeout=hush"),
    ("CONVICTION_MARKET", "hush"),
    ("CONVICTION_MARKET_OPTIONS", "hush"),
    ("CONVICTION_MARKET_FALLBACK", "hush"),
    ("CONVICTION_PORT", "hush"),
    ("CONVICTION_DEFAULT_BACKEND", "hush"),
    ("CONVICTION_DEFAULT_BACKEND", "candidate"),
    ("CONVICTION_CANDIDATE_URLS", "hush"),
    ("CONVICTION_CANARY_STEPS", "5,hush"),
    ("CONVICTION_CANARY_STEPS", "5,5"),
    ("CONVICTION_CANARY_STEPS", "100"),
    ("CONVICTION_CANDIDATE_MODEL", "hush"),
    ("CONVICTION_ALLOW_FOREIGN_MODEL", "hush"),
    ("CONVICTION_BACKEND_TIMEOUT_S", "-1"),
    ("CONVICTION_FIRST_TOKEN_TIMEOUT_S", "0"),
    ("OPENAI_API_KEY", "sk-hush\nsk-hush"),
    ("CONVICTION_HOSTING_USD_PER_HOUR", "NaN"),
    ("CONVICTION_CAPACITY_TOKENS_PER_HOUR", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_an_invalid_variable_is_named_in_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert cli.main(["serve"]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"conviction: {name}: ")
    assert output.count("\n") == 1
    assert "hush" not in output


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["socks5://hush:1080", "socks5h://user:hush@proxy", "ftp://hush", "http://hush:port"])
def test_a_proxy_that_cannot_be_used_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], without_proxies: None, name: str, proxy: str
) -> None:
    monkeypatch.setenv("CONVICTION_VLLM_URLS", "http://vllm.example:8000/v1")
    monkeypatch.setenv(name, proxy)
    assert cli.main(["serve"]) == 2
    output = capsys.readouterr().err
    assert name.upper() in output
    assert "hush" not in output


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ({"all_proxy": "all:1"}, "http://all:1"),
        ({"ALL_PROXY": "socks5://all:1", "https_proxy": "http://user:pass@own:1"}, "http://user:pass@own:1"),
        ({"http_proxy": "http://other:1"}, None),
        ({"ALL_PROXY": "http://all:1", "NO_PROXY": "example"}, None),
    ],
)
def test_the_environment_s_proxy_for_a_url(
    monkeypatch: pytest.MonkeyPatch, without_proxies: None, variables: dict[str, str], proxy: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://api.example/v1") == proxy


def test_all_invalid_variables_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVICTION_PORT", "70000")
    monkeypatch.setenv("CONVICTION_MARKET", "nasdaq")
    with pytest.raises(InvalidSettings, match=r"CONVICTION_MARKET: .*; CONVICTION_PORT: "):
        load_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gateway.example"])
def test_beyond_loopback_keys_are_needed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("CONVICTION_HOST", host)
    with pytest.raises(InvalidSettings, match=r"CONVICTION_API_KEYS_FILE.*CONVICTION_HOST"):
        load_settings()
    monkeypatch.setenv("CONVICTION_API_KEYS_FILE", "/keys")
    assert load_settings().host == host


def test_the_parquet_market_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVICTION_MARKET", "parquet")
    with pytest.raises(InvalidSettings, match="CONVICTION_MARKET_DIR"):
        load_settings()
    monkeypatch.setenv("CONVICTION_MARKET_DIR", str(tmp_path))
    with pytest.raises(InvalidSettings, match="CONVICTION_MARKET_DIR"):
        load_settings()
    (tmp_path / "ohlcv.parquet").touch()
    assert load_settings().market_dir == tmp_path


def test_the_client_s_settings_are_separate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVICTION_PORT", "no number, and no business of the client's")
    monkeypatch.setenv("CONVICTION_URL", "https://gateway.example/")
    monkeypatch.setenv("CONVICTION_API_KEY", "hush")
    settings = load(ClientSettings)
    assert settings.url == "https://gateway.example"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ({}, False),
        ({"EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({"TRACES_EXPORTER": "otlp"}, True),
        (
            {"TRACES_EXPORTER": "none", "EXPORTER_OTLP_ENDPOINT": "collector:4317", "EXPORTER_OTLP_PROTOCOL": "grpc"},
            False,
        ),
        ({"TRACES_EXPORTER": "otlp", "SDK_DISABLED": "true"}, False),
        ({"TRACES_EXPORTER": "otlp", "EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"SERVICE_NAME": "a", "BSP_SCHEDULE_DELAY": "1"}, False),
    ],
)
def test_what_turns_traces_on(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], on: bool) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    assert load_settings().traces is on


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ({"EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector/v1/metrics"}, True),
        ({"METRICS_EXPORTER": "otlp"}, True),
        ({"METRICS_EXPORTER": "none", "EXPORTER_OTLP_METRICS_ENDPOINT": "collector:4317"}, False),
        ({"METRICS_EXPORTER": "otlp", "SDK_DISABLED": "true"}, False),
    ],
)
def test_what_turns_opentelemetry_s_metrics_on(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], on: bool
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    assert load_settings().otel_metrics is on


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRICS_EXPORTER", "hush"),
        ("EXPORTER_OTLP_METRICS_ENDPOINT", "hush:4317"),
        ("EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ],
)
def test_metrics_that_cannot_be_sent_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318/v1/metrics")
    monkeypatch.setenv(f"OTEL_{name}", value)
    with pytest.raises(InvalidSettings, match=f"OTEL_{name}: ") as refused:
        load_settings()
    assert "hush" not in refused.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRACES_EXPORTER", "hush"), ("EXPORTER_OTLP_ENDPOINT", "hush:4317"), ("EXPORTER_OTLP_PROTOCOL", "grpc")],
)
def test_traces_that_cannot_be_sent_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv(f"OTEL_{name}", value)
    with pytest.raises(InvalidSettings, match=f"OTEL_{name}: ") as refused:
        load_settings()
    assert "hush" not in refused.value.detail


@pytest.mark.parametrize("whose", ["KEY", "MISTRAL", "GPT4"])
def test_limits_are_read_and_none_is_the_default(monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    given = {"REQUESTS_PER_MINUTE": "60", "TOKENS_PER_MINUTE": "100000", "USD_PER_DAY": "1.000000001"}
    fields = [f"{whose}_{name}".lower() for name in given]
    assert [getattr(load_settings(), field) for field in fields] == [None, None, None]
    for name, value in given.items():
        monkeypatch.setenv(f"CONVICTION_{whose}_{name}", value)
    assert [getattr(load_settings(), field) for field in fields] == [60, 100_000, Decimal("1.000000001")]
    for name, wrong in (("REQUESTS_PER_MINUTE", "0"), ("TOKENS_PER_MINUTE", "1e9"), ("USD_PER_DAY", "-1")):
        with monkeypatch.context() as patched:
            patched.setenv(f"CONVICTION_{whose}_{name}", wrong)
            with pytest.raises(InvalidSettings, match=f"CONVICTION_{whose}_{name}"):
                load_settings()


@pytest.mark.parametrize(("urls", "replicas", "paid"), [("http://a/v1", "", 1), ("http://a/v1", "8", 8), ("", "8", 0)])
def test_one_address_may_balance_over_several_servers(
    monkeypatch: pytest.MonkeyPatch, urls: str, replicas: str, paid: int
) -> None:
    monkeypatch.setenv("CONVICTION_VLLM_URLS", urls)
    if replicas:
        monkeypatch.setenv("CONVICTION_HOSTING_REPLICAS", replicas)
    assert load_settings().hosted_servers == paid


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CONVICTION_MISTRAL_AT_ONCE", "CONVICTION_MISTRAL_MAX_CONCURRENCY"),
        ("CONVICTION_MISTRAL_LINE", "CONVICTION_MISTRAL_QUEUE_SIZE"),
        ("CONVICTION_GPT4_AT_ONCE", "CONVICTION_GPT4_MAX_CONCURRENCY"),
        ("CONVICTION_GPT4_LINE", "CONVICTION_GPT4_QUEUE_SIZE"),
        ("CONVICTION_BATCH_AT_ONCE", "CONVICTION_BATCH_MAX_CONCURRENCY"),
    ],
)
def test_a_renamed_variable_is_rejected_with_its_new_name(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv("CONVICTION_PORT", "70000")
    monkeypatch.setenv(old, "8")
    with pytest.raises(InvalidSettings, match=rf"^{old}: .*{new}.*; CONVICTION_PORT: "):
        load_settings()
    assert load(ClientSettings)


CANDIDATE = {"CONVICTION_CANDIDATE_URLS": "http://a/v1,http://b/v1", "CONVICTION_VLLM_URLS": "http://a/v1"}


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (None, "CONVICTION_CANDIDATE_MODEL: needed where mistral's servers offer the candidate too"),
        ("lora-0123456789ab", "CONVICTION_CANDIDATE_MODEL: was trained on another contract"),
    ],
)
def test_a_candidate_of_mistral_s_servers_names_a_model_of_this_contract(
    monkeypatch: pytest.MonkeyPatch, model: str | None, problem: str
) -> None:
    for name, value in {**CANDIDATE, "CONVICTION_CANDIDATE_MODEL": model or ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=problem):
        load_settings()
    monkeypatch.setenv("CONVICTION_CANDIDATE_MODEL", f"lora-{fingerprint()}")
    assert load_settings().candidate_servers == 1  # the other is mistral's

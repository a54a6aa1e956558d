"""No response and no log line contains a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings.gateway import Settings, load_settings
from tests.conftest import StandIn
from tests.doubles import EXAMPLE_BODY
from tests.threats.conftest import started

KEY, OPENAI = "ann-0123456789abcdef-of-threats", "sk-threats-0123456789abcdef"
PASSWORD = "store-password-of-threats"
OPEN = ("/health/live", "/health/ready", "/")
PAGES = (*OPEN, "/metrics", "/openapi.json", "/docs", "/v1/backends", "/v1/costs", "/v1/keys", "/v1/comparisons")


def test_nothing_that_is_told_holds_a_secret(tmp_path: Path, stand_in: StandIn) -> None:
    """With a wrong key for one backend, an unavailable store, and each page with and without a key."""
    keys = tmp_path / "keys"
    keys.write_text(f"ann:{KEY}\n")
    keys.chmod(0o600)
    environment = {
        "CONVICTION_API_KEYS_FILE": str(keys),
        "CONVICTION_VLLM_URLS": stand_in.url,
        "OPENAI_BASE_URL": stand_in.url,
        "OPENAI_API_KEY": OPENAI,
        "REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1/0",
    }
    with started(tmp_path, **environment) as serving:
        responses = [
            serving.ask("POST", "/v1/recommendations", EXAMPLE_BODY, **{"X-API-Key": KEY, "X-Backend": backend})
            for backend in ("mistral", "gpt-4")
        ]
        for path in PAGES:
            responses += [serving.ask("GET", path), serving.ask("GET", path, **{"X-API-Key": KEY})]
    assert {200, 401} <= {status for status, _ in responses}
    log = serving.log.read_text()
    for secret in (KEY, OPENAI, PASSWORD, str(keys)):
        assert not [body for _, body in responses if secret.encode() in body]
        assert secret not in log


def test_settings_do_not_show_what_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI)
    monkeypatch.setenv("REDIS_URL", f"redis://:{PASSWORD}@store:6379/0")
    settings = load_settings()
    assert isinstance(settings, Settings)
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert OPENAI not in shown
        assert PASSWORD not in shown

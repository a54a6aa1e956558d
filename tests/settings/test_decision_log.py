"""Settings of the decision log: what is refused names its variable and never the URL, which holds a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import InvalidSettings
from app.settings.decision_log import DecisionLogSettings
from app.settings.loading import load
from app.settings.secrets import known_secrets

URL = "CONVICTION_DECISION_LOG_URL"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hush-hush@db:5432/decisions",
        "postgres://ann:hush-hush@one,other/decisions?target_session_attrs=read-write",
        "postgresql:///decisions?host=/run/postgresql",
    ],
)
def test_a_url_is_one_that_libpq_reads(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(URL, url)
    settings = load(DecisionLogSettings)
    assert settings.decision_log_url is not None
    assert settings.decision_log_url.get_secret_value() == url
    assert "hush-hush" not in repr(settings)
    assert url in known_secrets()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:hush-hush@db/decisions",
        "db:5432",
        "postgresql://ann:hush-hush@db/decisions?hush=1",
        "postgresql://ann:hush-hush@[db/decisions",
    ],
)
def test_another_url_is_refused_without_its_value(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(URL, url)
    with pytest.raises(InvalidSettings, match=URL) as refused:
        load(DecisionLogSettings)
    assert "hush" not in refused.value.detail


def test_a_required_log_needs_a_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVICTION_DECISION_LOG", "required")
    with pytest.raises(InvalidSettings, match=f"{URL} or CONVICTION_STORE_DIR"):
        load(DecisionLogSettings)
    monkeypatch.setenv("CONVICTION_STORE_DIR", str(tmp_path))
    assert load(DecisionLogSettings).decision_log == "required"

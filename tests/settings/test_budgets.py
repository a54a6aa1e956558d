"""Settings of budgets' webhook and of key names in metrics: what is refused names its variable and never its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import InvalidSettings
from app.settings.budgets import MAX_NAMES, BudgetSettings
from app.settings.loading import load
from app.settings.secrets import known_secrets

URL, SECRET, NAMES = "CONVICTION_BUDGET_WEBHOOK_URL", "CONVICTION_BUDGET_WEBHOOK_SECRET", "CONVICTION_METRICS_KEY_NAMES"


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/services/hush-hush", "http://ann:hush-hush@127.0.0.1:9/?token=hush-hush"]
)
def test_a_url_may_hold_a_token_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(URL, url)
    monkeypatch.setenv(SECRET, "hush-hush-hush")
    settings = load(BudgetSettings)
    assert settings.budget_webhook_url is not None
    assert settings.budget_webhook_url.get_secret_value() == url
    assert "hush" not in repr(settings) and "hush" not in settings.model_dump_json()
    assert {url, "hush-hush-hush"} <= set(known_secrets())


@pytest.mark.parametrize(
    "url", ["hooks.example.com/hush", "ftp://hooks.example.com/hush", "https:///hush", "http://h:0/hush"]
)
def test_another_url_is_refused_without_its_value(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(URL, url)
    with pytest.raises(InvalidSettings, match=URL) as refused:
        load(BudgetSettings)
    assert "hush" not in refused.value.detail


def test_both_may_be_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, text in ((URL, "https://hooks.example.com/x\n"), (SECRET, "hush-hush\n")):
        (tmp_path / variable).write_text(text)
        monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / variable))
    settings = load(BudgetSettings)
    assert settings.budget_webhook_url and settings.budget_webhook_secret
    assert settings.budget_webhook_url.get_secret_value() == "https://hooks.example.com/x"
    assert settings.budget_webhook_secret.get_secret_value() == "hush-hush"


def test_a_secret_needs_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "hush-hush")
    with pytest.raises(InvalidSettings, match=URL) as refused:
        load(BudgetSettings)
    assert "hush" not in refused.value.detail


def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMES, "research, the trading desk,")
    assert load(BudgetSettings).metrics_key_names == ("research", "the trading desk")


@pytest.mark.parametrize(
    "names",
    [
        "a,cvk_0123456789ab_0123456789012345678901234567890123456789012",
        "sk-0123456789abcdef",
        "x" * 65,
        "two\nlines",
        ",".join(f"n{number}" for number in range(MAX_NAMES + 1)),
    ],
)
def test_keys_and_too_many_names_are_refused(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv(NAMES, names)
    with pytest.raises(InvalidSettings, match=NAMES) as refused:
        load(BudgetSettings)
    assert names not in refused.value.detail

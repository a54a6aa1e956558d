"""`conviction keys` with a running gateway: a key is issued, used and revoked."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.auth import key_store as keys
from app.auth.key_store import RECORDS
from app.cli import main as cli
from app.main import create_app
from app.settings.gateway import Settings
from app.stores.connection import open_redis
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

ROOT = "root-key-0123456789abcdef"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def url(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway with keys; its URL and the first admin's key are in the client's environment."""

    async def empty() -> None:
        async with open_redis(SecretStr(store_url)) as redis:
            await redis.delete(RECORDS)

    asyncio.run(empty())
    file = tmp_path / "keys"
    file.write_text(f"root:{ROOT}")
    file.chmod(0o600)
    settings = Settings.model_validate({"market": "sample", "api_keys_file": file, "redis_url": store_url})
    backends = {"mistral": CountingBackend("mistral"), "gpt-4": CountingBackend("gpt-4")}
    with served(create_app(settings, opened_with(store_url, backends)), lifespan="on") as url:  # type: ignore[arg-type]
        monkeypatch.setenv("CONVICTION_URL", url)
        monkeypatch.setenv("CONVICTION_API_KEY", ROOT)
        yield url


def create(capsys: Output, *arguments: str) -> str:
    """Create a key and return it as printed."""
    assert cli.main(["keys", "create", *arguments]) == 0
    return capsys.readouterr().out.strip()


def listed(capsys: Output) -> list[dict[str, object]]:
    assert cli.main(["keys", "list", "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("url")
def test_a_key_is_created_used_and_revoked(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    key = create(capsys, "ann", "--backend", "mistral")
    monkeypatch.setenv("CONVICTION_API_KEY", key)
    assert cli.main(["recommend", "AAPL", "--brief"]) == 0
    assert cli.main(["recommend", "AAPL", "--brief", "--backend", "gpt-4"]) == 1
    assert "may not use gpt-4" in capsys.readouterr().err
    assert cli.main(["keys", "list"]) == 1
    assert "admin" in capsys.readouterr().err
    monkeypatch.setenv("CONVICTION_API_KEY", ROOT)
    assert cli.main(["keys", "revoke", key.split("_")[1]]) == 0
    assert "is revoked" in capsys.readouterr().err
    monkeypatch.setenv("CONVICTION_API_KEY", key)
    assert cli.main(["recommend", "AAPL", "--brief"]) == 1
    assert "unauthorized" in capsys.readouterr().err


@pytest.mark.usefixtures("url")
def test_the_key_alone_goes_to_standard_output(capsys: Output) -> None:
    assert cli.main(["keys", "create", "nightly run", "--admin", "--usd-per-day", "2.50"]) == 0
    output = capsys.readouterr()
    key = keys.KeyText.parse(output.out.removesuffix("\n"))
    assert key is not None
    assert key.secret not in output.err
    for words in (key.id, "nightly run (admin)", "2.5 USD", "file:root", "Shown this once"):
        assert words in output.err
    assert "is lost when the gateway stops" not in output.err


@pytest.mark.usefixtures("url")
def test_all_keys_are_listed_as_a_table(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PAGE_SIZE", 2)
    limits = ("--requests-per-minute", "60", "--tokens-per-minute", "90000", "--usd-per-day", "25")
    names = ["ann", "bob", "cat", "dan", "eve"]
    ids = [create(capsys, name, *(limits if name == "cat" else ())).split("_")[1] for name in names]
    assert cli.main(["keys", "revoke", ids[1]]) == 0
    assert cli.main(["keys", "list"]) == 0
    output = capsys.readouterr().out
    head, *rows = output.splitlines()
    assert head.split() == ["ID", "NAME", "BACKENDS", "A", "MINUTE", "A", "DAY", "ISSUED", "BY", "REVOKED"]
    assert [row.split()[:2] for row in rows] == [list(pair) for pair in zip(ids, names, strict=True)]
    assert "60 requests, 90,000 tokens  25 USD" in rows[2]
    assert [len(row) > head.index("REVOKED") for row in rows] == [False, True, False, False, False]


@pytest.mark.parametrize("cut", [0, 5])
@pytest.mark.usefixtures("url")
def test_of_a_whole_key_only_the_id_is_sent(capsys: Output, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    caplog.set_level("INFO")
    key = create(capsys, "ann")
    assert cli.main(["keys", "revoke", key[: len(key) - cut]]) == 0
    paths = [vars(record)["path"] for record in caplog.records if record.message == "request"]
    assert paths[-1] == f"/v1/keys/{key.split('_')[1]}"
    assert listed(capsys)[0]["revoked"]


@pytest.mark.parametrize(
    ("key_id", "message"), [("0" * 12, "not_found"), ("file:root", "keys file"), ("../x", "not_found")]
)
@pytest.mark.usefixtures("url")
def test_what_cannot_be_revoked_exits_1(capsys: Output, key_id: str, message: str) -> None:
    assert cli.main(["keys", "revoke", key_id]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("url")
def test_every_wrong_field_is_named(capsys: Output) -> None:
    assert cli.main(["keys", "create", " ", "--usd-per-day", "much", "--requests-per-minute", "0"]) == 1
    output = " ".join(capsys.readouterr().err.split())
    assert all(field in output for field in ("name must", "usd_per_day must", "requests_per_minute must"))


def test_without_a_keys_file_the_remedy_is_named(
    store_url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings.model_validate({"market": "sample"}), opened_with(store_url, {}))
    monkeypatch.delenv("CONVICTION_API_KEY", raising=False)
    with served(app, lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        assert cli.main(["keys", "create", "ann"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "CONVICTION_API_KEYS_FILE" in output.err


def test_a_key_of_an_embedded_store_is_reported_as_temporary(
    store_url: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"root:{ROOT}")
    file.chmod(0o600)
    settings = Settings.model_validate({"market": "sample", "api_keys_file": file})
    with served(create_app(settings, opened_with(store_url, {})), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        monkeypatch.setenv("CONVICTION_API_KEY", ROOT)
        create(capsys, "ann")
        assert cli.main(["keys", "create", "bob"]) == 0
    assert "is lost when the gateway stops" in capsys.readouterr().err


def test_no_gateway_exits_3(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:1")
    assert cli.main(["keys", "list"]) == 3
    assert "no gateway answers" in capsys.readouterr().err


def test_wrong_settings_exit_2(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("CONVICTION_URL", "gateway:8080")
    assert cli.main(["keys", "list"]) == 2
    assert "CONVICTION_URL" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["mint"], ["create"], ["revoke"], ["create", "a", "--backend", "gpt-5"]])
def test_what_the_parser_refuses_exits_2(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["keys", *arguments])
    assert stopped.value.code == 2
    assert "usage: conviction keys" in capsys.readouterr().err


@pytest.mark.usefixtures("url")
def test_a_key_without_chat_is_listed_as_such(capsys: Output) -> None:
    create(capsys, "ann", "--no-chat")
    create(capsys, "bob")
    assert [key["chat"] for key in sorted(listed(capsys), key=lambda key: str(key["name"]))] == [False, True]
    assert cli.main(["keys", "list"]) == 0
    assert "ann (no chat)" in capsys.readouterr().out


@pytest.mark.usefixtures("url")
def test_keys_are_listed_as_csv(capsys: Output) -> None:
    create(capsys, 'ann, a "desk"', "--backend", "mistral", "--backend", "gpt-4", "--usd-per-day", "2.50")
    assert cli.main(["keys", "list", "--output", "csv"]) == 0
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["name"], row["backends"], row["usd_per_day"]) == ('ann, a "desk"', "gpt-4 mistral", "2.5")
    [record] = listed(capsys)
    assert row.keys() == record.keys()

"""The store that `conviction up` keeps from one start to the next."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.errors import InvalidSettings
from app.settings.gateway import Settings
from app.stores.embedded import MAX_PATH_BYTES, locked
from app.supervisor import store
from app.supervisor.screen import Screen
from tests.supervisor.running import PRICES, up
from tests.supervisor.test_command import run

REQUEST = {"ticker": "MSFT", "detail": "brief"}


def settings(**given: object) -> Settings:
    return Settings.model_validate({"market": "sample", **given})


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    with io.StringIO() as output:
        yield output


@pytest.mark.parametrize("given", [{"redis_url": "redis://127.0.0.1:1"}, {"store_dir": Path("elsewhere")}])
def test_configured_stores_are_not_replaced(given: dict[str, object], output: io.StringIO, tmp_path: Path) -> None:
    assert store.gateway_variables(settings(**given), tmp_path, Screen(output), with_stand_in=False) == {}
    assert not output.getvalue()


def test_a_stand_in_has_its_own_store(output: io.StringIO, tmp_path: Path) -> None:
    folders = {
        store.gateway_variables(settings(), tmp_path, Screen(output), with_stand_in=each)["CONVICTION_STORE_DIR"]
        for each in (True, False)
    }
    assert len(folders) == 2
    assert all(Path(folder).parent == tmp_path.resolve() for folder in folders)


def test_a_path_too_long_for_a_store_is_reported(output: io.StringIO, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * MAX_PATH_BYTES)
    assert store.gateway_variables(settings(), deep, Screen(output), with_stand_in=False) == {}
    assert "CONVICTION_STORE_DIR" in output.getvalue()


def test_a_store_that_is_in_use_is_refused_by_its_path(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InvalidSettings, match="another gateway") as refused:
        store.require_free(settings(store_dir=tmp_path))
    assert str(tmp_path) in refused.value.detail
    store.require_free(settings(store_dir=tmp_path))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a store's socket; pytest's own is too long under xdist."""
    with TemporaryDirectory(prefix="conviction-") as folder:
        yield Path(folder)


def test_what_was_stored_is_there_after_the_next_start(short_path: Path) -> None:
    sources = []
    for _ in range(2):
        with up(short_path, "--stand-in", more=PRICES) as running:
            sources.append(running.ask(REQUEST).document["source"])
            second = run(short_path, "--stand-in", **PRICES)
            assert second.returncode == 2
            assert "another gateway" in second.stderr
    assert sources == ["model", "cache"]


def test_a_command_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    ended = run(tmp_path, "--stand-in", "--", "true", **PRICES)
    assert ended.returncode == 0
    assert not list((tmp_path / "run").glob("store*"))


@pytest.mark.parametrize(("more", "notice"), [({}, "0"), ({"CONVICTION_DRAIN_S": "0.2"}, "0.2")])
def test_the_gateway_does_not_drain_unless_configured(tmp_path: Path, more: dict[str, str], notice: str) -> None:
    with up(tmp_path, "--stand-in", more={**PRICES, **more}) as running:
        environ = Path(f"/proc/{running.child('serve')}/environ").read_bytes().split(b"\0")
    assert f"CONVICTION_DRAIN_S={notice}".encode() in environ

"""A start that fails ends with one line that names the cause, and with an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_main import START_S, Serving
from tests.valkey import Valkey


@pytest.mark.parametrize(
    ("mode", "options"), [("cluster", ("--save", "", "--cluster-enabled", "yes")), ("sentinel", ("--sentinel",))]
)
def test_a_redis_that_cannot_be_used_is_named_in_the_last_line(
    tmp_path: Path, mode: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "valkey.conf").touch()  # a Sentinel needs a file to write to
    with Valkey(tmp_path, options) as server:
        serving = Serving(tmp_path, REDIS_URL=server.url)
        assert serving.process.wait(START_S) == 2
    log = serving.log.read_text()
    assert log.splitlines()[-1] == (
        f"conviction: REDIS_URL names a server in {mode} mode; the gateway needs a standalone Redis"
    )
    assert "Traceback" not in log


def test_a_market_folder_that_cannot_be_read_is_named_in_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "market").mkdir()
    (tmp_path / "market" / "ohlcv_x.parquet").write_bytes(b"no Parquet")
    serving = Serving(tmp_path, CONVICTION_MARKET="parquet", CONVICTION_MARKET_DIR=str(tmp_path / "market"))
    assert serving.process.wait(START_S) == 2
    log = serving.log.read_text()
    assert log.splitlines()[-1].startswith("conviction: CONVICTION_MARKET_DIR")
    assert "Traceback" not in log


def test_an_unexpected_error_has_its_traceback(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (folder / "server.lock").mkdir(parents=True)  # the store's server cannot lock it
    serving = Serving(tmp_path, CONVICTION_STORE_DIR=str(folder))
    assert serving.process.wait(START_S) == 3
    assert "IsADirectoryError" in serving.log.read_text()

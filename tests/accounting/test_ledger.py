"""The ledger: whole nano-dollars a backend and UTC day, in one round trip."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import SecretStr

from app.accounting.ledger import Ledger, ledger_key
from app.contract.completion import Usage
from app.errors import StoreUnavailable
from app.stores.connection import open_redis

USAGE = Usage(prompt_tokens=400, completion_tokens=11, cached_tokens=100, reasoning_tokens=3)


def test_a_day_is_utc_s() -> None:
    new_york = timezone(timedelta(hours=-5))
    late = datetime(2024, 3, 8, 20, tzinfo=new_york)
    assert ledger_key("gpt-4", late) == "conviction:ledger:gpt-4:2024-03-09"


async def test_a_store_that_is_away_is_its_own_error() -> None:
    async with open_redis(SecretStr("redis://127.0.0.1:1")) as redis:
        with pytest.raises(StoreUnavailable):
            await Ledger(redis).add("mistral", USAGE, 7, datetime.now(UTC))
        with pytest.raises(StoreUnavailable):
            await Ledger(redis).check()


async def test_a_store_that_hangs_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with open_redis(SecretStr(f"redis://127.0.0.1:{port}")) as redis:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await Ledger(redis).add("mistral", USAGE, 7, datetime.now(UTC))
            assert time.monotonic() - started < 1.5

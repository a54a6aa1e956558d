"""The embedded server: leaves nothing behind, or keeps all that it answered; one gateway a folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import InvalidSettings, StoreUnavailable
from app.stores.connection import open_redis
from app.stores.embedded import MAX_PATH_BYTES
from app.stores.valkey_server import Server

pytestmark = pytest.mark.usefixtures("patient")

GATEWAY = """
import asyncio, sys
from pathlib import Path
from app.stores.connection import open_redis
async def main():
    async with open_redis(None, Path(sys.argv[1])) as redis:
        for _ in range(10**9):
            print(await redis.incr("counted"), flush=True)
asyncio.run(main())
"""


def log_of(folder: Path) -> Path:
    """The file that takes each change."""
    (log,) = folder.glob("appendonlydir/*.incr.aof")
    return log


async def pid(redis: Redis) -> int:
    return int((await redis.info("server"))["process_id"])


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


async def again(redis: Redis) -> None:
    """Until the server answers once more."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await redis.ping()
            return
        except RedisError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_server_without_a_folder_leaves_nothing_behind() -> None:
    async with open_redis(None) as redis:
        await redis.set("name", "value")
        process, settings = await pid(redis), await redis.config_get("*")
        folder = Path(settings["dir"])
        assert settings["port"] == "0"
        assert settings["appendonly"] == "no"
    assert gone(process)
    assert not await asyncio.to_thread(folder.exists)


async def test_a_server_with_a_folder_keeps_all(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    async with open_redis(None, folder) as redis:
        await redis.set("name", "value")
        settings = await redis.config_get("*")
        assert (settings["appendonly"], settings["appendfsync"], settings["maxmemory-policy"]) == (
            "yes",
            "no",
            "noeviction",
        )
    assert folder.stat().st_mode & 0o077 == 0
    async with open_redis(None, folder) as redis:
        assert await redis.get("name") == "value"


async def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as redis:
        for killing in range(3):
            for number in range(50):
                await redis.set(f"{killing}-{number}", "kept")
            os.kill(await pid(redis), signal.SIGKILL)
            await again(redis)
            assert await redis.dbsize() == 50 * (killing + 1)


async def test_a_server_without_a_folder_is_started_again_too() -> None:
    async with open_redis(None) as redis:
        os.kill(await pid(redis), signal.SIGKILL)
        await again(redis)


async def test_a_write_cut_off_in_the_middle_is_left_out(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as redis:
        await redis.set("name", "value")
    with log_of(tmp_path).open("ab") as tail:
        tail.write(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$4\r\nname\r\n$5\r\nwrong\r\n*3\r\n$3\r\nSET\r\n$4\r\nna")
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("name") == "value"
        await redis.set("more", "value")
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("more") == "value"


async def test_a_file_that_is_no_store_s_is_an_error_that_says_where_to_look(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as redis:
        await redis.set("name", "value")
    log_of(tmp_path).write_bytes(b"something else\r\n" * 100)
    with pytest.raises(StoreUnavailable, match=r"valkey\.log"):
        async with open_redis(None, tmp_path):
            pass


async def test_two_gateways_do_not_share_a_folder(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as first:
        with pytest.raises(InvalidSettings, match="CONVICTION_STORE_DIR: another gateway"):
            async with open_redis(None, tmp_path):
                pass
        await first.ping()


async def test_a_folder_that_cannot_be_is_said_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / ("x" * MAX_PATH_BYTES)):
        with pytest.raises(InvalidSettings, match="CONVICTION_STORE_DIR"):
            async with open_redis(None, folder):
                pass


async def test_a_server_that_outlived_its_gateway_is_ended_and_what_it_kept_taken_over(tmp_path: Path) -> None:
    orphan = Server(tmp_path, persistent=True)
    await orphan.start()
    async with open_redis(None, tmp_path) as redis:
        await redis.set("name", "value")
        assert orphan.ended
    await orphan.stop()
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("name") == "value"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death")
async def test_a_gateway_that_is_killed_takes_its_server_along_and_the_next_has_all_it_was_answered(
    tmp_path: Path,
) -> None:
    """Without its end the next could not hold the folder."""
    for _ in range(2):
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-c", GATEWAY, str(tmp_path), stdout=subprocess.PIPE
        )
        assert gateway.stdout
        for _ in range(20):
            await gateway.stdout.readline()
        gateway.kill()
        answered = [int(line) for line in (await gateway.stdout.read()).splitlines()]
        await gateway.wait()
        async with open_redis(None, tmp_path) as redis:
            assert int(await redis.get("counted") or 0) >= max(answered, default=20)

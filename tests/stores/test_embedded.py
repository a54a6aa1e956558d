"""The embedded server: temporary or persistent, and one gateway a folder."""

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
from app.stores.embedded import MAX_PATH_BYTES, locked
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
    """The append-only file."""
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
    """Wait until the server answers again."""
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


async def test_a_server_with_a_folder_persists(tmp_path: Path) -> None:
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


async def test_confirmed_writes_survive_a_kill(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as redis:
        for killing in range(3):
            for number in range(50):
                await redis.set(f"{killing}-{number}", "kept")
            os.kill(await pid(redis), signal.SIGKILL)
            await again(redis)
            assert await redis.dbsize() == 50 * (killing + 1)


async def test_a_truncated_write_is_dropped(tmp_path: Path) -> None:
    async with open_redis(None, tmp_path) as redis:
        await redis.set("name", "value")
    with log_of(tmp_path).open("ab") as tail:
        tail.write(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$4\r\nname\r\n$5\r\nwrong\r\n*3\r\n$3\r\nSET\r\n$4\r\nna")
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("name") == "value"
        await redis.set("more", "value")
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("more") == "value"


async def test_an_invalid_file_is_an_error_that_names_the_log(tmp_path: Path) -> None:
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


async def test_an_unusable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / ("x" * MAX_PATH_BYTES)):
        with pytest.raises(InvalidSettings, match="CONVICTION_STORE_DIR"):
            async with open_redis(None, folder):
                pass


async def test_an_orphaned_server_is_replaced_and_its_data_kept(tmp_path: Path) -> None:
    orphan = Server(tmp_path, persistent=True)
    await orphan.start()
    async with open_redis(None, tmp_path) as redis:
        await redis.set("name", "value")
        assert orphan.ended
    await orphan.stop()
    async with open_redis(None, tmp_path) as redis:
        assert await redis.get("name") == "value"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death")
async def test_a_killed_gateway_ends_its_server_and_the_next_has_its_data(
    tmp_path: Path,
) -> None:
    """The next gateway needs the folder's lock."""
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


async def test_what_is_stored_in_a_folder_that_was_there_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    folder.chmod(0o755)
    async with open_redis(None, folder) as redis:
        await redis.set("name", "value")
        assert folder.stat().st_mode & 0o777 == 0o755
        modes = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
        assert modes == dict.fromkeys(("lock", "server.lock", "valkey.log", "valkey.sock", "appendonlydir"), 0)
        (folder / "appendonlydir").chmod(0o755)
    async with open_redis(None, folder) as redis:
        assert await redis.get("name") == "value"
        assert (folder / "appendonlydir").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_every_user_may_write_to_is_refused_unchanged(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with (
        pytest.raises(InvalidSettings, match="CONVICTION_STORE_DIR: every user may write to the folder"),
        locked(folder),
    ):
        pass
    assert folder.stat().st_mode & 0o7777 == mode
    assert list(folder.iterdir()) == []


def test_a_new_folder_in_one_that_every_user_may_write_to_is_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with locked(tmp_path / "own") as own:
        assert own.stat().st_mode & 0o777 == 0o700

"""Secrets and models are rotated as in the operations guide, without a refused request."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.contract.fingerprint import fingerprint
from app.stand_in import create_stand_in
from app.stand_in.replies import PREFIX
from app.stores.connection import open_redis
from tests.conftest import STAND_IN_KEY, served
from tests.faults.running import Replica, question
from tests.valkey import KEPT, Valkey

PATH = "/v1/recommendations"


async def test_a_store_accepts_both_passwords_until_the_old_is_removed(tmp_path: Path) -> None:
    """Connected gateways stay connected."""

    def url(password: str) -> SecretStr:
        return SecretStr(f"unix://default:{password}@{server.url.removeprefix('unix://')}")

    with Valkey(tmp_path, KEPT) as server:
        async with open_redis(SecretStr(server.url)) as administrator:
            await administrator.config_set("requirepass", "old-password")
            async with open_redis(url("old-password")) as before, open_redis(url("new-password")) as after:
                await before.set("conviction:tests:kept", "value")
                with pytest.raises(RedisError):
                    await after.ping()
                await administrator.acl_setuser("default", enabled=True, passwords=["+new-password"], keys="*")
                assert await after.get("conviction:tests:kept") == "value"
                await administrator.acl_setuser("default", enabled=True, passwords=["-old-password"], keys="*")
                assert await before.get("conviction:tests:kept") == "value"
                async with open_redis(url("old-password")) as late:
                    with pytest.raises(RedisError):
                        await late.ping()


async def test_a_key_of_the_file_is_rotated_by_two_restarts(tmp_path: Path, valkey: Valkey) -> None:
    """First both keys, then only the new one; the store counts the two separately."""
    old, new = "old-0123456789abcdef", "new-0123456789abcdef"
    with served(create_stand_in(key=STAND_IN_KEY)) as upstream:
        for lines, opens in (
            (f"ops:{old}\n", {old}),
            (f"ops:{old}\nops2:{new}\n", {old, new}),
            (f"ops2:{new}\n", {new}),
        ):
            keys = tmp_path / "keys"
            keys.write_text(lines)
            keys.chmod(0o600)
            replica = Replica(tmp_path, upstream, valkey.url, CONVICTION_API_KEYS_FILE=str(keys)).start()
            try:
                async with replica.wait().client() as client:
                    for key in (old, new):
                        answer = await client.get("/v1/backends", headers={"X-API-Key": key})
                        assert answer.status_code == (200 if key in opens else 401)
            finally:
                replica.kill()


def model(version: int) -> str:
    return f"{PREFIX}tests-{version}-{fingerprint()}"


class Servers:
    """One address, served by different versions in turn."""

    def __init__(self) -> None:
        self.versions: dict[int, ASGIApp] = {
            number: create_stand_in(key=STAND_IN_KEY, models=[model(number)]) for number in (2, 3)
        }
        self.now = 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.versions[self.now](scope, receive, send)


async def asked(replica: Replica, ticker: str = "SNPS") -> tuple[str, str]:
    """Return the model that answered, and whether the answer is new."""
    async with replica.client() as client:
        answer = await client.post(PATH, json=question(ticker))
        assert answer.status_code == 200, answer.text
        return answer.json()["model"], answer.json()["source"]


async def test_an_upgrade_and_its_rollback_use_their_own_cached_answers(tmp_path: Path, valkey: Valkey) -> None:
    """Gateways restart with the other server's address; the cache never mixes the models' answers."""
    servers = {number: create_stand_in(key=STAND_IN_KEY, models=[model(number)]) for number in (2, 3)}
    with served(servers[2]) as old, served(servers[3]) as new:
        seen = []
        for upstream in (old, new, old):
            replica = Replica(tmp_path, upstream, valkey.url).start()
            try:
                replica.wait()
                seen += [await asked(replica), await asked(replica)]
            finally:
                replica.kill()
    upgraded = [(model(3), "model"), (model(3), "cache")]
    assert seen == [(model(2), "model"), (model(2), "cache"), *upgraded, (model(2), "cache"), (model(2), "cache")]


async def test_a_server_with_a_new_version_is_asked_for_that_version(tmp_path: Path, valkey: Valkey) -> None:
    """A gateway detects the change by the first refusal; the cache never mixes the models' answers."""
    servers = Servers()
    with served(servers) as upstream:
        replica = Replica(tmp_path, upstream, valkey.url).start()
        try:
            replica.wait()
            assert [await asked(replica), await asked(replica)] == [(model(2), "model"), (model(2), "cache")]
            servers.now = 3
            async with replica.client() as client:
                assert (await client.post(PATH, json=question("FIRST"))).status_code == 200
            assert await asked(replica, "OTHER") == (model(3), "model")
            assert [await asked(replica), await asked(replica)] == [(model(3), "model"), (model(3), "cache")]
        finally:
            replica.kill()

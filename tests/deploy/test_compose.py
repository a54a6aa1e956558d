"""docker-compose.yml: the gateway is given the time it takes to stop, and a store that keeps what it is told."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from app.settings import Settings
from tests.valkey import Valkey

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return composed


def test_a_gateway_that_drains_is_not_killed(services: dict[str, Any]) -> None:
    settings = Settings.model_construct()
    longest = settings.drain_s + settings.backend_timeout_s + 5
    assert float(services["gateway"]["stop_grace_period"].removesuffix("s")) >= longest + 10


async def test_the_store_keeps_what_it_is_told(services: dict[str, Any], tmp_path: Path) -> None:
    program, *options = shlex.split(services["valkey"]["command"])
    assert program == "valkey-server"
    with Valkey(tmp_path, options) as server:
        async with Redis.from_url(server.url) as redis:
            said = await redis.config_get("*")
    assert (said["appendonly"], said["appendfsync"], said["maxmemory-policy"]) == ("yes", "everysec", "noeviction")
    assert services["gateway"]["depends_on"]["valkey"]["condition"] == "service_healthy"
    assert "healthcheck" in services["valkey"]

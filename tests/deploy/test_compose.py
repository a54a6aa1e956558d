"""docker-compose.yml: what is published, the time that stopping takes, and a store that keeps what it is told."""

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
def composed() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def services(composed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = composed["services"]
    return found


def test_gateway_and_grafana_alone_are_published_to_this_machine(services: dict[str, Any]) -> None:
    published = {name: port for name, service in services.items() for port in service.get("ports", ())}
    assert published.keys() == {"gateway", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())


def test_grafana_is_given_its_password_by_a_file_and_what_it_shows_by_others(composed: dict[str, Any]) -> None:
    grafana = composed["services"]["grafana"]
    environment = grafana["environment"]
    [secret] = grafana["secrets"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"/run/secrets/{secret}"
    assert not {name for name in environment if "PASSWORD" in name} - {"GF_SECURITY_ADMIN_PASSWORD__FILE"}
    assert composed["secrets"][secret]["file"].startswith("./secrets/")
    inside = dict(volume.removesuffix(":ro").split(":")[::-1] for volume in grafana["volumes"])
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/conviction.yml").read_text())
    [shown] = provider["providers"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / inside[shown["options"]["path"]] / home.name).is_file()
    [source] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]


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

"""docker-compose.yml: published ports, privileges, secrets and start order of the services."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings.gateway import Settings

ROOT = Path(__file__).parents[2]
PROFILES = ("gpu", "cpu")


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def services(composed: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = composed["services"]
    return found


@pytest.mark.parametrize("profiles", [(), *((profile,) for profile in PROFILES)], ids=str)
def test_compose_accepts_it(tmp_path: Path, profiles: tuple[str, ...]) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    subprocess.run([ROOT / "deploy/compose/first-time", tmp_path], check=True, capture_output=True, timeout=60)
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = subprocess.run([program, *chosen, "config"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    assert {"gateway", "valkey", "prometheus", "grafana"} <= resolved["services"].keys()
    assert "variable is not set" not in done.stderr
    passwords = [path.read_text().strip() for path in (tmp_path / "secrets").iterdir()]
    assert not [secret for secret in passwords if secret and secret in done.stdout]


def test_only_gateway_and_grafana_are_published_on_loopback(services: dict[str, Any]) -> None:
    published = {name: port for name, service in services.items() for port in service.get("ports", ())}
    assert published.keys() == {"gateway", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())


def test_the_others_have_no_external_network(composed: dict[str, Any]) -> None:
    assert composed["networks"]["inside"]["internal"]
    for name, service in composed["services"].items():
        if name not in ("gateway", "grafana"):
            assert service.get("network_mode") == "none" or list(service["networks"]) == ["inside"], name


def test_secrets_are_files_and_nothing_else(composed: dict[str, Any]) -> None:
    for name, secret in composed["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
    used = {secret for service in composed["services"].values() for secret in service.get("secrets", ())}
    assert used == composed["secrets"].keys()
    for name, service in composed["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|_KEY|SECRET|TOKEN$", variable):
                assert str(value).startswith("/run/secrets/"), (name, variable)
    named = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert not [name for name in named if re.search("(PASSWORD|API_KEY|SECRET)$", name)]


def test_all_have_limits_and_none_gains_privileges(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        if not name.startswith("weights"):
            assert service["deploy"]["resources"]["limits"]["memory"], name
        if name not in ("vllm", "vllm-cpu"):
            assert service["cap_drop"] == ["ALL"], name
    for name in ("gateway", "valkey", "prometheus", "weights"):
        assert services[name]["read_only"], name


def test_they_start_in_the_order_of_their_health(services: dict[str, Any]) -> None:
    def after(name: str) -> dict[str, str]:
        return {other: each["condition"] for other, each in services[name].get("depends_on", {}).items()}

    assert after("gateway") == {"valkey": "service_healthy"}
    assert after("prometheus") == {"gateway": "service_healthy"}
    assert after("grafana") == {"prometheus": "service_healthy"}
    assert after("vllm") == {"weights": "service_completed_successfully"}
    assert after("vllm-cpu") == {"weights-cpu": "service_completed_successfully"}
    own = {"gateway"}  # in its image
    assert all("healthcheck" in services[name] for name in ("valkey", "prometheus", "grafana", "vllm", "vllm-cpu"))
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text() and own <= services.keys()


def test_grafana_reads_password_and_dashboards_from_files(composed: dict[str, Any]) -> None:
    grafana = composed["services"]["grafana"]
    environment = grafana["environment"]
    [secret] = grafana["secrets"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"/run/secrets/{secret}"
    inside = dict(volume.removesuffix(":ro").split(":")[::-1] for volume in grafana["volumes"])
    provider = yaml.safe_load((ROOT / "deploy/compose/grafana/provisioning/dashboards/conviction.yml").read_text())
    [shown] = provider["providers"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / inside[shown["options"]["path"]] / home.name).is_file()
    [source] = yaml.safe_load((ROOT / "deploy/compose/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    scraped = yaml.safe_load((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]


def test_a_gateway_that_drains_is_not_killed(services: dict[str, Any]) -> None:
    settings = Settings.model_construct()
    longest = settings.drain_s + settings.backend_timeout_s + 5
    assert float(services["gateway"]["stop_grace_period"].removesuffix("s")) >= longest + 10


def test_every_setting_of_the_example_is_read() -> None:
    text = (ROOT / ".env.example").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    aliases = {str(field.validation_alias) for field in Settings.model_fields.values()}
    for name in re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE):
        setting = name.removesuffix("_FILE")
        read = setting.removeprefix("CONVICTION_").lower() in Settings.model_fields or setting in aliases
        assert read or f"${{{name}" in compose or name.startswith("OTEL_"), name

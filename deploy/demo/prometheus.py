"""A local Prometheus with the repository's rules and scrape jobs, at shorter intervals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import yaml  # type: ignore[import-untyped]

from app.supervisor.ports import available_port

COMPOSE = Path(__file__).parents[1] / "compose"
STARTING_S = 120.0


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an API answer. Raises `OSError`."""
        with _open(f"{self.url}/api/v1/{path}?{urlencode(parameters)}") as response:
            return json.load(response)["data"]

    def values(self, expr: str) -> list[float]:
        """Return an expression's current values, by series."""
        return [float(series["value"][1]) for series in self.get("query", query=expr)["result"]]

    def lacking(self, exprs: Iterable[str], seconds: float) -> list[str]:
        """Return the expressions that had no value within the time."""
        ends, left = time.monotonic() + seconds, list(exprs)
        while left := [expr for expr in left if not any(value == value for value in self.values(expr))]:
            if time.monotonic() > ends:
                break
            time.sleep(0.5)
        return left


def found() -> str | None:
    """Return the program's path, or None."""
    return shutil.which("prometheus")


@contextmanager
def running(program: str, folder: Path, targets: Mapping[str, str], key: str = "") -> Iterator[Prometheus]:
    """Start one that scrapes the targets (host:port by job) each second and stores data in the folder."""
    port = available_port("127.0.0.1", 0)
    (folder / "metrics_key").write_text(key)
    for name in ("rules.yml", "spend.yml", "alerts.yml"):
        rules = (COMPOSE / "prometheus" / name).read_text()
        (folder / name).write_text(re.sub(r"^    interval: \w+$", "    interval: 1s", rules, flags=re.MULTILINE))
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_quicker(targets, folder / "metrics_key")))
    place = (f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([program, f"--config.file={config}", *place], stdout=log, stderr=log)
    try:
        yield Prometheus(_ready(f"http://127.0.0.1:{port}", process, folder / "prometheus.log"))
    finally:
        process.terminate()
        process.wait(60)


def _quicker(targets: Mapping[str, str], key: Path) -> dict[str, Any]:
    """Return deploy/compose/prometheus/prometheus.yml with these targets."""
    config: dict[str, Any] = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(key)
    return config


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until it answers; return the address. Raises `RuntimeError` after the limit."""
    ends = time.monotonic() + STARTING_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            with _open(f"{url}/-/ready"):
                return url
        except (HTTPError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus does not start: {log.read_text()[-500:]}")


def _open(url: str) -> Any:
    return build_opener(ProxyHandler({})).open(url, timeout=60)

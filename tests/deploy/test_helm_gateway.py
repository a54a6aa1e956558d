"""The gateway, started as in the chart's pod: with its variables, files, probes and termination."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from deploy.helm.helm import CHART, Document, example, one, rendered
from tests.conftest import StandIn
from tests.valkey import Valkey

ADMIN = "ops-0123456789abcdef"
START_S = 60.0


class Pod:
    """The container's process, with a local folder for the mounts and a free port."""

    def __init__(self, documents: list[Document], folder: Path, secrets: dict[str, str]) -> None:
        pod = one(documents, "Deployment")["spec"]["template"]["spec"]
        [self.container] = pod["containers"]
        [mounted] = [volume["projected"]["sources"] for volume in pod["volumes"] if volume["name"] == "secrets"]
        for source in mounted:
            [item] = source["secret"]["items"]
            _private(folder / "secrets" / item["path"], secrets[item["key"]])
        plan = one(documents, "ConfigMap", "experiments")["data"]["experiments.json"]
        _private(folder / "experiments/experiments.json", plan)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {each["name"]: each["value"] for each in self.container["env"]}
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", *self.container["args"]],
                env={
                    "PYTHONPATH": str(Path.cwd()),
                    "TMPDIR": str(folder),
                    "HOME": "/nonexistent",
                    **{name: _outside(value, folder) for name, value in environment.items()},
                    "CONVICTION_PORT": str(self.port),
                },
                stdout=log,
                stderr=log,
            )

    def probe(self, name: str) -> int:
        """Return the status of a probe as sent by the kubelet (pod address, no key), or 0."""
        path = self.container[name]["httpGet"]["path"]
        try:
            return self.ask("GET", path, Host=f"10.0.0.7:{self.port}")[0]
        except OSError:
            return 0

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def becomes(self, name: str, status: int) -> bool:
        """Wait for a probe's status; return whether it came in time."""
        ends = time.monotonic() + START_S
        while time.monotonic() < ends and self.process.poll() is None:
            if self.probe(name) == status:
                return True
            time.sleep(0.05)
        return False


@pytest.fixture
def pod(stand_in: StandIn, tmp_path: Path) -> Iterator[Pod]:
    values: dict[str, Any] = example()
    values["drainSeconds"] = 5
    values["settings"] |= {
        "CONVICTION_VLLM_URLS": stand_in.url,
        "OPENAI_BASE_URL": stand_in.url,
        "CONVICTION_MARKET": "sample",
    }
    arms = [{"name": name, "backend": name, "weight": 5000} for name in ("mistral", "gpt-4")]
    values["experiments"] = {"experiments": [{"name": "halves", "arms": arms}]}
    with Valkey(tmp_path) as store:
        secrets = {"api_keys": f"ops:{ADMIN}\n", "redis_url": store.url, "openai_api_key": stand_in.key}
        pod = Pod(rendered(CHART, values), tmp_path, secrets)
        try:
            yield pod
        finally:
            pod.process.kill()
            pod.process.wait()


def test_a_pod_starts_is_ready_answers_and_drains(pod: Pod) -> None:
    assert pod.becomes("startupProbe", 200), pod.log.read_text()
    assert pod.becomes("readinessProbe", 200), pod.log.read_text()
    assert pod.probe("livenessProbe") == 200
    body = {"ticker": "AAPL", "detail": "brief"}
    assert pod.ask("POST", "/v1/recommendations", body)[0] == 401
    status, answer = pod.ask("POST", "/v1/recommendations", body, Authorization=f"Bearer {ADMIN}")
    assert (status, json.loads(answer)["experiment"]["name"]) == (200, "halves")
    assert pod.ask("GET", "/metrics")[0] == 401
    assert pod.ask("GET", "/metrics", Authorization=f"Bearer {ADMIN}")[0] == 200

    pod.process.send_signal(signal.SIGTERM)
    assert pod.becomes("readinessProbe", 503)
    assert pod.ask("POST", "/v1/recommendations", body, Authorization=f"Bearer {ADMIN}")[0] == 200
    assert pod.process.wait(60) == 0
    assert ADMIN not in pod.log.read_text()


def _private(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _outside(value: str, folder: Path) -> str:
    """Return a setting with the pod's folders replaced by local ones."""
    return value.replace("/run/secrets", str(folder / "secrets")).replace("/etc/conviction", str(folder))

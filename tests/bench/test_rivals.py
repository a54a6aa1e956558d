"""Rivals as processes, with a stand-in for their programs: started, asked, stopped, and left out with a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from bench.gateway import rivals, schedule
from bench.gateway import testbed as beds
from bench.gateway.gateways import GATEWAYS, RIVALS
from bench.gateway.load import Generator, InvalidRound, Load
from bench.gateway.programs import DidNotStart, NotInstalled, compiled
from bench.gateway.schedule import Schedule, run_schedule
from bench.gateway.systems import Environment
from bench.gateway.upstream import Upstream, upstream
from bench.gateway.workload import chat_script

CORES = (0,)
ROOT = Path(__file__).parents[2]
STAND_IN = f"""#!{sys.executable}
# A stand-in for smg: passes each request on to its worker, on a new connection.
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import Request, urlopen

given = dict(zip(sys.argv, sys.argv[1:]))

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send(b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {{"Authorization": self.headers["Authorization"]}}
        self.send(urlopen(Request(given["--worker-urls"] + self.path, body, headers)).read())

    def send(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer((given["--host"], int(given["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "bench"
    made.mkdir()
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Upstream]:
    with upstream(chat_script(folder), CORES) as running:
        yield running


def environment(folder: Path, chat: Any) -> Environment:
    return Environment(chat, chat, 0, CORES, folder, folder.parent / "environments")


def install(of: Environment, program: str) -> None:
    """Put a program where smg's is looked for."""
    path = of.environments / "smg/bin/smg"
    path.parent.mkdir(parents=True)
    path.write_text(program)
    path.chmod(0o755)


def test_a_rival_is_started_answers_rightly_and_is_stopped(folder: Path, server: Upstream) -> None:
    shared = environment(folder, server)
    install(shared, STAND_IN)
    with rivals.smg(shared) as system:
        sample = Generator(compiled("load", folder), CORES, folder).run(
            system.port, system.key, system.whole, Load(60.0, 1, requests=3)
        )
        sample.require_all_valid()
        assert server.counts().answered == 3
        assert system.process is not None
        pid = system.process.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_rival_that_is_not_installed_is_named_with_its_remedy(folder: Path) -> None:
    with pytest.raises(NotInstalled, match=r"smg is not installed; `make \.envs/smg/\.complete`"):
        rivals.smg(environment(folder, Mock(url="http://127.0.0.1:9")))


def test_portkey_needs_node(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotInstalled, match="portkey needs Node"):
        rivals.portkey(environment(folder, Mock(url="http://127.0.0.1:9")))


def test_a_rival_that_ends_is_left_out_with_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared, testbed = environment(folder, Mock(url="http://127.0.0.1:9")), bare()
    install(shared, "#!/bin/sh\necho first; echo second; exit 1\n")
    with pytest.raises(DidNotStart, match="first\nsecond") as raised, rivals.smg(shared):
        pass
    testbed.leave_out("smg", raised.value)
    assert testbed.left_out == {"smg": f"smg did not start; its log is {folder / 'smg.log'}"}
    assert len(capsys.readouterr().err.splitlines()) == 1


def bare() -> beds.Testbed:
    return beds.Testbed(Mock(), Mock(), Mock(), Mock(), seconds=1.0)


@pytest.mark.parametrize("name", ["direct", "conviction", "tree"])
def test_without_another_system_there_are_no_figures(name: str) -> None:
    with pytest.raises(DidNotStart):
        bare().leave_out(name, DidNotStart(name))


def test_a_rival_with_wrong_answers_is_left_out_before_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def warm_up(_testbed: beds.Testbed, system: Any, _measures: Any) -> None:
        if system.name == "smg":
            raise InvalidRound("of 32 answers none is right")

    def measure(_testbed: beds.Testbed, _system: Any) -> dict[str, Any]:
        return {"throughput": 1.0}

    monkeypatch.setattr(schedule, "warm_up", warm_up)
    monkeypatch.setattr(schedule, "MEASURES", {"throughput": measure})
    systems, testbed = [Mock(), Mock()], bare()
    for system, name in zip(systems, ("smg", "envoy"), strict=True):
        system.name = name
    measured = run_schedule(Schedule(rounds=2, measures=("throughput",)), testbed, systems)
    assert [each["gateway"] for each in measured] == ["envoy", "envoy"]
    assert testbed.left_out == {"smg": "of 32 answers none is right"}


def test_envoy_listens_on_loopback_and_calls_the_upstream() -> None:
    setup = yaml.safe_load(Template((rivals.SETUPS / "envoy.yaml").read_text()).substitute(port=1234, upstream_port=80))
    [listener], [cluster] = setup["static_resources"]["listeners"], setup["static_resources"]["clusters"]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 1234}
    [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 80}


@pytest.mark.parametrize(
    ("npm", "line"),
    [
        (None, "portkey: needs Node.js, whose program `npm` is not on the PATH"),
        ("echo 'npm error code EINTEGRITY' && echo more && exit 1", "portkey: npm failed: npm error code EINTEGRITY"),
    ],
)
def test_a_failed_installation_by_npm_is_one_line(tmp_path: Path, npm: str | None, line: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "realpath", "dirname", "rm", "mkdir", "cp", "grep"):
        (programs / name).symlink_to(Path("/usr/bin") / name)
    if npm:
        (programs / "npm").write_text(f"#!/bin/sh\n{npm}\n")  # a stand-in for npm
        (programs / "npm").chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/bash", str(ROOT / "requirements/install-node"), "portkey", str(tmp_path / "environments/portkey")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    [error] = done.stderr.splitlines()
    assert error.startswith(line)


def test_make_installs_each_rival() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [listed] = [line.split()[2:] for line in makefile.splitlines() if line.startswith("RIVALS :=")]
    assert {GATEWAYS[name].environment for name in RIVALS} == set(listed)

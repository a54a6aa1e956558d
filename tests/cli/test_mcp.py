"""`conviction mcp` without the SDK, and without a cost for the other commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.cli import main as cli


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


def test_without_the_sdk_it_names_the_extra() -> None:
    done = python("import sys; sys.modules['mcp'] = None; from app.cli.main import main; sys.exit(main(['mcp']))")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("install conviction[mcp]\n")
    assert "Traceback" not in done.stderr


def test_the_gateway_imports_neither_the_sdk_nor_shtab() -> None:
    done = python("import sys, app.cli.serve, app.cli.recommend; print({'mcp', 'shtab'} & sys.modules.keys())")
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "9" * 5000])
def test_a_port_is_a_number(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["mcp", "--http", port])
    assert stopped.value.code == 2
    assert "a port from 1 to 65535" in capsys.readouterr().err

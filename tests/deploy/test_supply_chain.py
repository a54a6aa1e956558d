"""The vulnerability audit: a failed lookup is never reported as no vulnerabilities."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = ROOT / ".envs/audit/bin/python"
CLEAN: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "b", "skip_reason": "not found: b (1)"}
KNOWN: dict[str, Any] = {
    "name": "c",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    specification = importlib.util.spec_from_file_location("audit", ROOT / "requirements/audit.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    import sys

    sys.modules["audit"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("reported", "status"),
    [
        ([CLEAN], 0),
        ([CLEAN, SKIPPED], 77),
        ([SKIPPED], 77),
        ([CLEAN, SKIPPED, KNOWN], 1),
    ],
)
def test_exit_statuses(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, reported: list[dict[str, Any]], status: int
) -> None:
    monkeypatch.setattr(audit, "audit", lambda path: audit.read(path.stem, reported))
    assert audit.main(["gateway"]) == status


def test_without_a_network_the_audit_does_not_pass() -> None:
    if not AUDIT.exists():
        pytest.skip(f"{AUDIT} is not there: `make .envs/audit/.complete`")
    unreachable = "http://127.0.0.1:9"
    environment = {**os.environ, "HTTPS_PROXY": unreachable, "https_proxy": unreachable}
    command = [AUDIT, ROOT / "requirements/audit.py", "audit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 77, done.stdout + done.stderr
    assert "could not check" in done.stdout

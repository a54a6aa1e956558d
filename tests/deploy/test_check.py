"""deploy/check reports every outcome, and no test file is missing from its list."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.checks import __main__ as command
from deploy.checks.listed import CHECKS, PYTHON, Check
from deploy.checks.running import ROOT, run


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with test files."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer to load than the tests to run
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow: x"]\n')
    (tmp_path / "test_good.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_one(): pass\ndef test_two(): assert False\n")
    (tmp_path / "test_half.py").write_text(
        "import pytest\ndef test_one(): pass\ndef test_two(): pytest.skip('no such tool')\n"
    )
    (tmp_path / "test_none.py").write_text("import pytest\ndef test_two(): pytest.skip('no such tool')\n")
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "test_slow.py").write_text("import pytest\n@pytest.mark.slow\ndef test_one(): assert False\n")
    (tmp_path / "test_empty.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "state", "note"),
    [
        ("good", "ok", "2 tests"),
        ("bad", "failed", "test_two"),
        ("half", "ok", "1 of 2 skipped: no such tool"),
        ("none", "skipped", "1 of 1 skipped: no such tool"),
        ("broken", "failed", "test_broken"),
        ("slow", "failed", ""),
        ("empty", "failed", ""),
        ("absent", "failed", "no file matches test_absent.py"),
    ],
)
def test_outcomes_of_tests(checkout: Path, name: str, state: str, note: str) -> None:
    outcome = run(Check(name, "", tests=(f"test_{name}.py",)), checkout, checkout)
    assert outcome.state == state, outcome.log.read_text()
    assert note in outcome.note
    assert outcome.log == checkout / f"{name}.log"


@pytest.mark.parametrize(
    ("program", "state", "note"),
    [
        ("print('done')", "ok", ""),
        ("print('it broke'); raise SystemExit(3)", "failed", "exit status 3: it broke"),
        ("print('no network'); raise SystemExit(77)", "skipped", "no network"),
    ],
)
def test_outcomes_of_commands(checkout: Path, program: str, state: str, note: str) -> None:
    outcome = run(Check("a command", "", command=(PYTHON, "-c", program)), checkout, checkout)
    assert (outcome.state, outcome.note) == (state, note)
    assert outcome.log.name == "a-command.log"


def test_a_missing_dependency_skips_the_check(checkout: Path) -> None:
    outcome = run(Check("x", "", command=("true",), needs=".envs/x"), checkout, checkout)
    assert (outcome.state, outcome.note) == ("skipped", ".envs/x does not exist: `make check` builds it")


def test_one_failure_sets_the_exit_status_and_names_its_log(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = (run(Check(name, "says", tests=(f"test_{name}.py",)), checkout, checkout) for name in ("good", "bad"))
    assert command.report([good]) == 0
    assert command.report([bad, good]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("ok ")
    assert str(bad.log) in printed[2]
    assert printed[-1] == "deploy/check: 1 ok, 1 failed, 0 skipped"


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["kubernets"]) == 2
    assert "kubernetes" in capsys.readouterr().out


def test_every_pattern_matches_a_file() -> None:
    assert not [pattern for check in CHECKS for pattern in check.tests if not list(ROOT.glob(pattern))]


def test_every_test_of_deployment_is_in_a_check() -> None:
    listed = {path for check in CHECKS for pattern in check.tests for path in ROOT.glob(pattern)}
    elsewhere = {"test_demo.py", "test_monitoring.py", "test_pictures.py"}  # not of a deployment
    forgotten = {path.name for path in (ROOT / "tests/deploy").glob("test_*.py") if path not in listed} - elsewhere
    assert not forgotten

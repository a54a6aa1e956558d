"""requirements/install as make runs it: what it installs, and what it prints where it cannot."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.requirements.index import Index, Package, serving

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9/pages"
FIRST, SECOND = Package("firsttiny"), Package("secondtiny")
ON_A_SMALL_DISK = "mount -t tmpfs -o size=1m none .envs && ln -s {uv} .envs/uv && exec make .envs/tiny/.complete"


@dataclass
class Project:
    """A folder with the Makefile and a list `tiny`."""

    folder: Path
    index: Index

    @property
    def complete(self) -> Path:
        return self.folder / ".envs/tiny/.complete"

    @property
    def log(self) -> str:
        return (self.folder / ".envs/tiny.log").read_text()

    def pin(self, *lines: str) -> None:
        (self.folder / "requirements/tiny.txt").write_text("".join(lines))

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the tester's settings of pip, uv or make, and empty caches."""
        foreign = ("PIP_", "UV_", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "SSL_", "XDG_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **own,
            "PYTHON": sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "0",
            "UV_HTTP_RETRIES": "0",
            "UV_CACHE_DIR": str(self.folder / "cache/uv"),
            "PIP_CACHE_DIR": str(self.folder / "cache/pip"),
            "PIP_INDEX_URL": self.index.url,
            "no_proxy": "127.0.0.1",
            **more,
        }

    def start(self, *command: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command or ("make", ".envs/tiny/.complete"),
            cwd=self.folder,
            env=self.environment(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def install(self, *command: str, **more: str) -> tuple[int, list[str], list[str]]:
        """Return the exit status and the lines of both outputs, without make's own."""
        process = self.start(*command, **more)
        outputs = process.communicate()
        printed, errors = ([line for line in text.splitlines() if not line.startswith("make")] for text in outputs)
        return process.returncode, printed, errors


@pytest.fixture(scope="module")
def uv() -> Path:
    """The folder of the environment that holds uv, as installations share it."""
    subprocess.run(["make", ".envs/uv/.complete"], cwd=ROOT, check=True, capture_output=True)
    return ROOT / ".envs/uv"


@pytest.fixture
def index() -> Iterator[Index]:
    with serving() as running:
        yield running


@pytest.fixture
def without_uv(tmp_path: Path, index: Index) -> Project:
    """A project that has installed nothing so far."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / ".envs").mkdir()
    for name in ("Makefile", "requirements/install", "requirements/uv.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    project = Project(tmp_path, index)
    project.pin(index.publish(FIRST), index.publish(SECOND))
    return project


@pytest.fixture
def project(without_uv: Project, uv: Path) -> Project:
    """A project that has uv."""
    (without_uv.folder / ".envs/uv").symlink_to(uv)
    return without_uv


def test_an_environment_holds_what_the_list_pins(project: Project) -> None:
    status, printed, errors = project.install()
    assert (status, errors) == (0, [])
    assert printed[0] == "tiny: installing into .envs/tiny"
    assert printed[-1].startswith("tiny: ready after ")
    assert project.complete.exists()
    program = [str(project.complete.with_name("bin") / "python"), "-c", "import firsttiny, secondtiny"]
    subprocess.run(program, check=True, cwd=project.folder)


def test_a_complete_environment_is_not_made_again(project: Project) -> None:
    project.install()
    before = len(project.index.requests)
    assert project.install() == (0, [], [])
    assert len(project.index.requests) == before


def failed(project: Project, *command: str, **more: str) -> str:
    """The only line that says why."""
    status, _, errors = project.install(*command, **more)
    assert status != 0
    assert not project.complete.exists()
    [line] = errors
    assert line.startswith("tiny: ")
    return line


def test_an_index_that_cannot_be_reached_is_named_with_the_remedy(project: Project) -> None:
    line = failed(project, UV_DEFAULT_INDEX=NOWHERE, PIP_INDEX_URL=NOWHERE)
    assert "the package index cannot be reached" in line
    assert "UV_DEFAULT_INDEX" in line
    assert line.endswith("(log: .envs/tiny.log)")
    assert "127.0.0.1:9" in project.log


def test_without_uv_and_an_index_pip_s_failure_is_named(without_uv: Project) -> None:
    line = failed(without_uv, PIP_INDEX_URL=NOWHERE)
    assert "the package index cannot be reached" in line
    assert "PIP_INDEX_URL" in line


def test_a_package_that_the_index_lacks_is_the_index_s_fault(project: Project) -> None:
    project.pin("thirdtiny==1.0 --hash=sha256:" + 64 * "0" + "\n")
    assert "the package index cannot be reached, or lacks a package" in failed(project)


def test_a_file_that_is_not_the_pinned_one_is_refused(project: Project) -> None:
    project.pin("firsttiny==1.0 --hash=sha256:" + 64 * "0" + "\n")
    line = failed(project)
    assert "a download is not the file that requirements/tiny.txt pins" in line
    assert "uv cache clean" in line


def test_where_uv_cannot_be_installed_pip_installs(without_uv: Project) -> None:
    """The index has the list's packages and no uv."""
    status, printed, errors = without_uv.install()
    assert (status, errors) == (0, [])
    assert "tiny: uv cannot be installed (.envs/uv.log says why): using pip, which is ten times slower" in printed
    assert without_uv.complete.exists()
    assert not (without_uv.folder / ".envs/uv/.complete").exists()


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0, reason="no mounts are allowed here"
)
def test_a_full_disk_is_named_with_the_remedy(project: Project, uv: Path) -> None:
    ballast = random.Random(1).randbytes(4 * 2**20)
    project.pin(project.index.publish(Package("bigtiny", ballast)))
    line = failed(project, "unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK.format(uv=uv))
    assert "the disk is full" in line
    assert "free some space and run the same command again" in line


@pytest.mark.parametrize("script", ["exit 1", "exit 127"], ids=["Python 3.10", "no Python"])
def test_an_older_python_is_refused(without_uv: Project, script: str) -> None:
    stub = without_uv.folder / "python3.10"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o700)
    assert failed(without_uv, PYTHON=str(stub)).endswith("needs Python 3.11 or later; PYTHON=/path/to/python names one")
    assert not (without_uv.folder / ".envs/tiny").exists()


def test_a_killed_installation_is_not_complete_and_is_made_again(project: Project) -> None:
    project.index.stalled = SECOND.file
    process = project.start()
    assert project.index.asked.wait(60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not project.complete.exists()
    project.index.released.set()
    status, _, errors = project.install()
    assert (status, errors) == (0, [])
    assert project.complete.exists()

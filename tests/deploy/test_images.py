"""Checks of images: `Sealed` isolates as documented, and each check can fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.images import gateway, pip_settings
from deploy.images.base import official
from deploy.images.containers import ContainerSpec, ImageError, Running, output_of
from deploy.images.sealed import Sealed


class Plain:
    """Runs a spec's command on this machine, to test the handling of its result."""

    name = "plain"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._config = dict(config or {})

    def config(self, image: str) -> dict[str, Any]:
        return self._config

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        with log.open("wb") as file:
            process = subprocess.Popen(spec.command, stdout=file, stderr=subprocess.STDOUT)
        yield Running(process, log)

    def has(self, image: str) -> bool:
        raise NotImplementedError

    def take(self, image: str, rootfs: Path) -> None:
        raise NotImplementedError

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        raise NotImplementedError

    def bytes(self, image: str) -> int:
        raise NotImplementedError

    def stop(self, running: Running) -> None:
        raise NotImplementedError


DECLARED = {
    "User": "10001:10001",
    "Cmd": ["conviction", "serve"],
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Labels": {"org.opencontainers.image.version": "1", "org.opencontainers.image.revision": "abc"},
}


def test_a_correct_image_passes() -> None:
    assert "version 1" in gateway.declared(Plain(DECLARED), "image", {"version": "1", "revision": "abc"})


@pytest.mark.parametrize("wrong", [{"User": ""}, {"Cmd": ["sh"]}, {"Healthcheck": None}, {"Labels": {}}], ids=str)
def test_an_incorrect_image_fails(wrong: dict[str, Any]) -> None:
    with pytest.raises(ImageError):
        gateway.declared(Plain({**DECLARED, **wrong}), "image", {"version": "1", "revision": "abc"})


def test_this_machine_fails_the_check_of_a_sealed_image() -> None:
    with pytest.raises(ImageError, match="AssertionError"):
        gateway.printed(Plain(), "image", gateway.SEALED, sys.executable)


@pytest.mark.parametrize(
    ("program", "held"),
    [
        ("import sys; print('set NAME'); sys.exit(2)", True),
        ("print('set NAME')", False),
        ("raise SystemExit(2)", False),
    ],
)
def test_a_refusal_needs_the_status_and_the_word(program: str, held: bool) -> None:
    def spec(_: str) -> ContainerSpec:
        return ContainerSpec("image", (sys.executable, "-c", program))

    if held:
        assert gateway.refusing(Plain(), "image", spec, "NAME") == "set NAME"
    else:
        with pytest.raises(ImageError):
            gateway.refusing(Plain(), "image", spec, "NAME")


def test_a_failed_command_reports_its_last_output() -> None:
    with pytest.raises(ImageError, match="the last of them"):
        output_of(sys.executable, "-c", "import sys; sys.exit('the last of them')")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_sealed_command_writes_only_to_tmp_without_privileges(tmp_path: Path) -> None:
    """Seal this machine's root file system, without an image."""
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    for name in ("bin", "lib", "lib64", "usr", "tmp", "run", "proc", "dev"):
        source = Path("/") / name
        if source.is_symlink():
            (root / name).symlink_to(source.readlink())
        else:
            (root / name).mkdir()
    subprocess.run(["mount", "--bind", "/usr", root / "usr"], check=True)
    try:
        script = "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /tmp/x && ls /run/secrets; touch /x"
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / "a-secret").touch()
        process = Sealed(root, "/", "10001", {"PATH": "/usr/bin:/bin"}, secrets).start(("sh", "-c", script), log)
        assert process.wait(60) != 0
    finally:
        subprocess.run(["umount", root / "usr"], check=True)
    said = log.read_text()
    assert said.splitlines()[0] == "10001", said
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "a-secret" in said
    assert "Read-only file system" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
def test_a_sealed_command_ends_with_its_process(tmp_path: Path) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    apart = ["unshare", "--pid", "--fork", sys.executable, "-c", program]
    with subprocess.Popen(apart, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"1"
        Sealed.send_signal(process, signal.SIGKILL)
        assert process.wait(60) != 0
        Sealed.send_signal(process, signal.SIGKILL)  # it has ended: no signal is sent


def test_pip_settings_are_passed_on_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels, index = tmp_path / "wheels", tmp_path / "index" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.as_uri())
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "0")  # not of registries
    mounts = list(pip_settings.volumes(tmp_path))
    assert mounts[0] == f"{tmp_path}/pip.conf:/etc/pip.conf:ro"
    assert {f"{wheels}:{wheels}:ro", f"{index.parent}:{index.parent}:ro"} <= set(mounts)
    written = (tmp_path / "pip.conf").read_text()
    assert f"find-links = {wheels}" in written
    assert "require-virtualenv" not in written


def test_the_base_is_the_one_that_the_dockerfile_and_compose_name() -> None:
    assert official().startswith("python:3.11-")
    assert f"PYTHON_IMAGE:-{official()}" in (Path(__file__).parents[2] / "docker-compose.yml").read_text()

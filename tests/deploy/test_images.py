"""Checks of images: a container is sealed, and each check can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.images import gateway, pip_settings
from deploy.images.base import official
from deploy.images.engine import ContainerSpec, Engine, ImageError, Running, output_of


class Plain(Engine):
    """Runs a spec's command on this machine, to test the handling of its result."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__("plain")
        self._config = dict(config or {})

    def config(self, image: str) -> dict[str, Any]:
        return self._config

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        with log.open("wb") as file:
            command = [*([spec.entrypoint] if spec.entrypoint else []), *spec.command]
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        yield Running(process, log)


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


def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Put a command of this name on PATH that writes its arguments to the file returned."""
    program, arguments = tmp_path / name, tmp_path / "arguments"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{arguments}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return arguments


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_a_container_is_sealed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = recorded(tmp_path, monkeypatch, name)
    folders = {tmp_path / "runs": "/srv/runs"}
    spec = ContainerSpec("image", ("id",), {"A": "1"}, tmp_path / "secrets", "0:0", "sh", folders)
    with Engine(name).running(spec, tmp_path / "log") as running:
        assert running.ended() == 0
    given = arguments.read_text().splitlines()
    assert given[0] == "run"
    assert given[-2:] == ["image", "id"]
    assert {"--read-only", f"{tmp_path}/secrets:/run/secrets:ro", "no-new-privileges", "A=1"} <= set(given)
    assert given[given.index("--cap-drop") + 1] == "ALL"
    assert given[given.index("--entrypoint") + 1] == "sh"
    assert f"{tmp_path}/runs:/srv/runs" in given
    assert ("--ulimit" in given) == (name == "podman")


@pytest.mark.parametrize("outside", [True, False], ids=["podman", "docker"])
def test_the_health_check_is_read_from_either_engine(
    outside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, config = {"Healthcheck": DECLARED["Healthcheck"]}, {"User": "10001:10001"}
    described = {"Config": config, **check} if outside else {"Config": config | check}
    monkeypatch.setattr("deploy.images.engine.output_of", lambda *_: json.dumps([described]))
    assert Engine("any").config("image") == config | check


def test_only_podman_builds_in_a_chroot_with_the_settings_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pip_settings, "volumes", lambda _: iter(["/pip.conf:/etc/pip.conf:ro"]))
    for name in ("docker", "podman"):
        arguments = recorded(tmp_path, monkeypatch, name)
        Engine(name).build("image", "gateway", {"VERSION": "1"})
        given = arguments.read_text().splitlines()
        assert {"gateway", "VERSION=1", "image"} <= set(given)
        assert ("chroot" in given) == ("/pip.conf:/etc/pip.conf:ro" in given) == (name == "podman")


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

"""The training image's commands, started with its files, variables and mounts in a local folder."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.images import training
from deploy.images.engine import ContainerSpec, Engine, ImageError, Running
from tests.deploy.test_dockerfile import ROOT, stages

PYTHON = ROOT / ".envs/training/bin/python"
STAGE = stages()["training"]
GUIDES = ("docs/how-to/train-a-model.md", "docs/how-to/build-images.md")


class Unpacked(Engine):
    """Runs the image's entry point on this machine, in a folder with what the Dockerfile copies."""

    def __init__(self, srv: Path, without: str = "") -> None:
        super().__init__("unpacked")
        self._srv = srv
        for line in re.findall(r"^COPY (.*) \S+$", STAGE, re.MULTILINE):
            for name in set(line.split()) - {without}:
                (srv / name).symlink_to(ROOT / name)

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        for path, inside in spec.volumes.items():
            place = self._inside(inside.removesuffix(":ro"))
            place.unlink(missing_ok=True)
            place.symlink_to(path)
        given = {name: self._inside(value) for name, value in re.findall(r"(\w+)=(/srv/\S+)", STAGE)}
        command = [str(PYTHON), "-m", "training", *spec.command]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self._srv, env=os.environ | given, stdout=file, stderr=subprocess.STDOUT
            )
        yield Running(process, log)

    def _inside(self, path: str) -> Path:
        return Path(path.replace("/srv", str(self._srv)))


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make .envs/training/.complete`")
    (tmp_path / "srv").mkdir()
    return tmp_path / "srv"


def test_the_image_has_the_published_versions(srv: Path) -> None:
    assert training.published(Unpacked(srv), "image")


def test_an_image_without_them_fails_the_check(srv: Path) -> None:
    with pytest.raises(ImageError, match="model_store"):
        training.published(Unpacked(srv, without="model_store"), "image")


def test_a_stage_without_a_market_names_the_folder_to_mount(srv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MARKET", str(srv / "market"))
    message = training.staged(Unpacked(srv), "image", None)
    assert f"{srv}/market" in message


def test_stages_write_only_to_folders_of_the_container_s_user() -> None:
    [made] = re.findall(r"^RUN mkdir (.*?) && chown -R 10001:10001 (.*)$", STAGE, re.MULTILINE)
    assert {f"/srv/{name}" for name in made[0].split()} == set(training.WRITTEN)
    assert {f"/srv/{name}" for name in made[1].split()} == {*training.WRITTEN, "/srv/model_store"}
    assert f"CONVICTION_MARKET_DIR={training.MARKET}" in STAGE


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guides_mount_what_stages_read_and_write(guide: str) -> None:
    text = (ROOT / guide).read_text()
    assert "docker run" in text
    mounts = re.findall(r'-v "[^"]*:(/srv/[^"]*)"', text)
    assert set(mounts) == {f"{training.MARKET}:ro", *training.WRITTEN, "/srv/model_store"}
    assert '--user "$(id -u):$(id -g)"' in text, "a folder of this machine belongs to its user"
    assert not re.search(r"conviction-training\S* \w+ --market", text), "the image's variable names the mount"

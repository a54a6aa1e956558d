"""Buildah, for machines without Docker or Podman: it needs no service and builds as root in a chroot."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.images import pip_settings
from deploy.images.containers import (
    BUILD_S,
    PATH,
    PULL_S,
    STOP_S,
    ContainerSpec,
    ImageError,
    Running,
    build_args,
    output_of,
)
from deploy.images.sealed import Sealed


class Buildah:
    """Builds in a chroot; runs the image's file system in `Sealed`."""

    name = "buildah"
    _environment: Mapping[str, str] = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def _buildah(self, *command: str, seconds: float = 600) -> str:
        return output_of("buildah", *command, seconds=seconds, environment=self._environment)

    def has(self, image: str) -> bool:
        try:
            self._buildah("pull", "--policy", "missing", "--quiet", image, seconds=PULL_S)
        except (ImageError, subprocess.TimeoutExpired):
            return False
        return True

    def take(self, image: str, rootfs: Path) -> None:
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", "--quiet", container, str(rootfs), "/")
        self._buildah("config", "--env", PATH, container)
        self._buildah("commit", "--quiet", "--rm", container, image)

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        """Build without the layer cache, which would keep the first revision in a label."""
        with tempfile.TemporaryDirectory() as folder:
            volumes = [word for each in pip_settings.volumes(Path(folder)) for word in ("--volume", each)]
            options = ["--format", "docker", "--network", "host", "--target", target, "--tag", image]
            self._buildah("build", *options, *volumes, *build_args(arguments), ".", seconds=BUILD_S)

    def config(self, image: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self._buildah("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    def bytes(self, image: str) -> int:
        """Return the size of all files, hard links counted once."""
        container, root = self._mounted(image)
        try:
            return int(output_of("du", "--summarize", "--bytes", "--one-file-system", str(root)).split()[0])
        finally:
            self._buildah("rm", container)

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        container, root = self._mounted(spec.image)
        config = self.config(spec.image)
        environment = dict(each.split("=", 1) for each in config["Env"]) | dict(spec.environment)
        sealed = Sealed(root, config["WorkingDir"], spec.user or config["User"], environment, spec.secrets)
        command = spec.command or (*(config.get("Entrypoint") or ()), *config["Cmd"])
        process = sealed.start(command, log)
        try:
            yield Running(process, log)
        finally:
            Sealed.send_signal(process, signal.SIGKILL)
            process.wait(STOP_S)
            self._buildah("rm", container)

    def stop(self, running: Running) -> None:
        Sealed.send_signal(running.process, signal.SIGTERM)

    def _mounted(self, image: str) -> tuple[str, Path]:
        container = self._buildah("from", "--pull-never", image).strip()
        return container, Path(self._buildah("mount", container).strip())

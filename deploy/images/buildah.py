"""Buildah, where there is no engine: it needs no service, and builds as root in a chroot."""

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
from deploy.images.containers import BUILD_S, PATH, PULL_S, STOP_S, Broken, Order, Running, given, told
from deploy.images.sealed import Sealed


class Buildah:
    """Builds in a chroot, and runs in namespaces of the kernel's: the same file system, as sealed as `Sealed` says."""

    name = "buildah"
    _environment: Mapping[str, str] = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def _told(self, *command: str, seconds: float = 600) -> str:
        return told("buildah", *command, seconds=seconds, environment=self._environment)

    def has(self, image: str) -> bool:
        try:
            self._told("pull", "--policy", "missing", "--quiet", image, seconds=PULL_S)
        except (Broken, subprocess.TimeoutExpired):
            return False
        return True

    def take(self, image: str, rootfs: Path) -> None:
        container = self._told("from", "scratch").strip()
        self._told("add", "--quiet", container, str(rootfs), "/")
        self._told("config", "--env", PATH, container)
        self._told("commit", "--quiet", "--rm", container, image)

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        """Without a cache of layers: there a label would keep the revision it had at first."""
        with tempfile.TemporaryDirectory() as folder:
            volumes = [word for each in pip_settings.volumes(Path(folder)) for word in ("--volume", each)]
            options = ["--format", "docker", "--network", "host", "--target", target, "--tag", image]
            self._told("build", *options, *volumes, *given(arguments), ".", seconds=BUILD_S)

    def config(self, image: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self._told("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    def bytes(self, image: str) -> int:
        """Of all files, each once."""
        container, root = self._mounted(image)
        try:
            return int(told("du", "--summarize", "--bytes", "--one-file-system", str(root)).split()[0])
        finally:
            self._told("rm", container)

    @contextmanager
    def running(self, order: Order, log: Path) -> Iterator[Running]:
        container, root = self._mounted(order.image)
        config = self.config(order.image)
        environment = dict(each.split("=", 1) for each in config["Env"]) | dict(order.environment)
        sealed = Sealed(root, config["WorkingDir"], order.user or config["User"], environment, order.secrets)
        command = order.command or (*(config.get("Entrypoint") or ()), *config["Cmd"])
        process = sealed.start(command, log)
        try:
            yield Running(process, log)
        finally:
            Sealed.tell(process, signal.SIGKILL)
            process.wait(STOP_S)
            self._told("rm", container)

    def stop(self, running: Running) -> None:
        Sealed.tell(running.process, signal.SIGTERM)

    def _mounted(self, image: str) -> tuple[str, Path]:
        container = self._told("from", "--pull-never", image).strip()
        return container, Path(self._told("mount", container).strip())

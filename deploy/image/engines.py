"""Who builds an image and runs it: Docker or Podman where one works, else buildah with what the kernel has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from deploy.image import pip_settings
from deploy.image.sealed import Sealed

PULL_S, BUILD_S, STOP_S = 300, 3600, 60
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT = Path(__file__).parents[2]


class Broken(Exception):
    """An engine did not do what it was told; its last words."""


@dataclass(frozen=True)
class Order:
    """A container to start: always on this machine's network, with a read-only root and no capability."""

    image: str
    command: Sequence[str] = ()
    """Empty: the image's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Path | None = None
    """A folder to see at /run/secrets."""
    user: str | None = None
    """None: the image's own."""


@dataclass(frozen=True)
class Running:
    """A container: the process that lives as long as it does, and what it has printed so far."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace").strip()

    def ended(self, seconds: float = STOP_S) -> int:
        """Its exit status; raises `TimeoutExpired` where it goes on."""
        return self.process.wait(seconds)


class Engine(Protocol):
    """`has` pulls what is not there; `take` makes a base of a root file system; `running` kills what is left."""

    name: str

    def has(self, image: str) -> bool: ...
    def take(self, image: str, rootfs: Path) -> None: ...
    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None: ...
    def config(self, image: str) -> dict[str, Any]: ...
    def bytes(self, image: str) -> int: ...
    def running(self, order: Order, log: Path) -> AbstractContextManager[Running]: ...
    def stop(self, running: Running) -> None: ...


def found() -> Engine | None:
    """The first that works here; Docker's command without its service does not."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, timeout=60).returncode == 0:
            return Cli(name)
    if shutil.which("buildah") and os.geteuid() == 0:
        return Buildah()
    return None


def told(*command: str, seconds: float = 600, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints; raises `Broken` with the end of its errors where it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise Broken(f"{' '.join(command[:2])} failed ({done.returncode}):\n" + "\n".join(last))
    return done.stdout


def _given(arguments: Mapping[str, str]) -> list[str]:
    return [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]


class Cli:
    """Docker or Podman."""

    def __init__(self, name: str) -> None:
        self.name = name

    def has(self, image: str) -> bool:
        for verb in (["image", "inspect"], ["pull", "--quiet"]):
            if subprocess.run([self.name, *verb, image], capture_output=True, timeout=PULL_S).returncode == 0:
                return True
        return False

    def take(self, image: str, rootfs: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            told("tar", "--create", "--file", f"{folder}/rootfs.tar", "--directory", str(rootfs), ".")
            told(self.name, "import", "--change", f"ENV {PATH}", f"{folder}/rootfs.tar", image)

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        form = ["--format", "docker"] if self.name == "podman" else []  # the other form knows no health check
        told(self.name, "build", *form, "--target", target, "--tag", image, *_given(arguments), ".", seconds=BUILD_S)

    def config(self, image: str) -> dict[str, Any]:
        [described] = json.loads(told(self.name, "image", "inspect", image))
        config: dict[str, Any] = described["Config"]
        return {"Healthcheck": described.get("HealthCheck"), **config}  # Podman has it one level up

    def bytes(self, image: str) -> int:
        return int(json.loads(told(self.name, "image", "inspect", image))[0]["Size"])

    @contextmanager
    def running(self, order: Order, log: Path) -> Iterator[Running]:
        options = ["--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]  # noqa: S108
        options += ["--security-opt", "no-new-privileges"]
        options += [word for item in order.environment.items() for word in ("--env", "=".join(item))]
        options += ["--volume", f"{order.secrets}:/run/secrets:ro"] if order.secrets else []
        options += ["--user", order.user] if order.user else []
        with log.open("wb") as file:
            process = subprocess.Popen(
                [self.name, "run", *options, order.image, *order.command], stdout=file, stderr=subprocess.STDOUT
            )
        try:
            yield Running(process, log)
        finally:
            process.terminate()
            process.wait(STOP_S)

    def stop(self, running: Running) -> None:
        running.process.terminate()  # passed on to the container


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
        with tempfile.TemporaryDirectory() as folder:
            volumes = [word for each in pip_settings.volumes(Path(folder)) for word in ("--volume", each)]
            options = ["--format", "docker", "--network", "host", "--layers", "--target", target, "--tag", image]
            self._told("build", *options, *volumes, *_given(arguments), ".", seconds=BUILD_S)

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
            process.kill()
            process.wait()
            self._told("rm", container)

    def stop(self, running: Running) -> None:
        Sealed.stop(running.process)

    def _mounted(self, image: str) -> tuple[str, Path]:
        container = self._told("from", "--pull-never", image).strip()
        return container, Path(self._told("mount", container).strip())

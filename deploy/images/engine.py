"""A container engine, Docker or Podman, through its command line: build an image, and run a sealed container of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.images import pip_settings

ROOT = Path(__file__).parents[2]
PULL_S, BUILD_S, STOP_S = 300, 3600, 60
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a base image that is only a root file system."""

PODMAN_LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
"""By default Podman raises both, which root inside a container must not."""


class ImageError(Exception):
    """A check of the image or a command of the engine failed; the message has the end of its output."""


@dataclass(frozen=True)
class ContainerSpec:
    """A container to start, always with the host's network, a read-only root and no capability."""

    image: str
    command: Sequence[str] = ()
    """Empty: the image's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Path | None = None
    """A folder to mount at /run/secrets."""
    user: str | None = None
    """None: the image's own."""
    entrypoint: str | None = None
    """None: the image's own."""
    volumes: Mapping[Path, str] = field(default_factory=dict)
    """Where each folder is mounted, with :ro where it is only read."""

    def options(self) -> Iterator[str]:
        yield from ("--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108
        yield from ("--security-opt", "no-new-privileges", "--no-healthcheck")  # Podman runs health checks by systemd
        yield from (word for item in self.environment.items() for word in ("--env", "=".join(item)))
        yield from ("--volume", f"{self.secrets}:/run/secrets:ro") if self.secrets else ()
        yield from (word for path, inside in self.volumes.items() for word in ("--volume", f"{path}:{inside}"))
        yield from ("--user", self.user) if self.user else ()
        yield from ("--entrypoint", self.entrypoint) if self.entrypoint else ()


@dataclass(frozen=True)
class Running:
    """A running container: the engine's process, which passes signals on, and the output."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace").strip()

    def ended(self, seconds: float = STOP_S) -> int:
        """Wait for the exit status. Raises `TimeoutExpired`."""
        return self.process.wait(seconds)

    def stop(self) -> None:
        self.process.terminate()


@dataclass(frozen=True)
class Engine:
    """Docker or Podman, by the name of its command."""

    name: str

    @property
    def podman(self) -> bool:
        return self.name == "podman"

    def has(self, image: str) -> bool:
        """Return whether the image exists; pull it if it does not."""
        verbs = (["image", "inspect"], ["pull", "--quiet"])
        return any(
            subprocess.run([self.name, *verb, image], capture_output=True, timeout=PULL_S).returncode == 0
            for verb in verbs
        )

    def take(self, image: str, rootfs: Path) -> None:
        """Make an image of a root file system."""
        with tempfile.TemporaryDirectory() as folder:
            output_of("tar", "--create", "--file", f"{folder}/rootfs.tar", "--directory", str(rootfs), ".")
            output_of(self.name, "import", "--change", f"ENV {PATH}", f"{folder}/rootfs.tar", image)

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        given = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
        with tempfile.TemporaryDirectory() as folder:
            # The OCI format has no health check, a chroot needs no cgroup, and cached layers keep their old labels.
            podmans = ("--format", "docker", "--isolation", "chroot", "--layers=false", "--network", "host")
            own = [*podmans] if self.podman else []
            own += [word for each in pip_settings.volumes(Path(folder)) for word in ("--volume", each) if self.podman]
            output_of(self.name, "build", *own, "--target", target, "--tag", image, *given, ".", seconds=BUILD_S)

    def config(self, image: str) -> dict[str, Any]:
        described = self._inspect(image)
        return {"Healthcheck": described.get("Healthcheck"), **described["Config"]}  # Podman has it one level up

    def bytes(self, image: str) -> int:
        return int(self._inspect(image)["Size"])

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        command = [
            self.name,
            "run",
            *spec.options(),
            *(PODMAN_LIMITS if self.podman else ()),
            spec.image,
            *spec.command,
        ]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield Running(process, log)
        finally:
            process.terminate()
            process.wait(STOP_S)

    def _inspect(self, image: str) -> dict[str, Any]:
        described: list[dict[str, Any]] = json.loads(output_of(self.name, "image", "inspect", image))
        return described[0]


def found() -> Engine | None:
    """Return the first engine that works here; Docker's command without its service does not."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, timeout=60).returncode == 0:
            return Engine(name)
    return None


def output_of(*command: str, seconds: float = 600) -> str:
    """Run a command and return its output. Raises `ImageError` with the end of its errors."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise ImageError(f"{' '.join(command[:2])} failed ({done.returncode}):\n" + "\n".join(last))
    return done.stdout

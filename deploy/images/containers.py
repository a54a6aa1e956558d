"""The interface of a container engine: build an image, and run a sealed container of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PULL_S, BUILD_S, STOP_S = 300, 3600, 60
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a base image that is only a root file system."""

ROOT = Path(__file__).parents[2]


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


@dataclass(frozen=True)
class Running:
    """A running container: its host process, and its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace").strip()

    def ended(self, seconds: float = STOP_S) -> int:
        """Wait for the exit status. Raises `TimeoutExpired`."""
        return self.process.wait(seconds)


class Engine(Protocol):
    """`has` pulls a missing image; `take` imports a root file system; `running` kills the container on exit."""

    name: str

    def has(self, image: str) -> bool: ...
    def take(self, image: str, rootfs: Path) -> None: ...
    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None: ...
    def config(self, image: str) -> dict[str, Any]: ...
    def bytes(self, image: str) -> int: ...
    def running(self, spec: ContainerSpec, log: Path) -> AbstractContextManager[Running]: ...
    def stop(self, running: Running) -> None: ...


def output_of(*command: str, seconds: float = 600, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output. Raises `ImageError` with the end of its errors."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, cwd=ROOT, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-20:]
        raise ImageError(f"{' '.join(command[:2])} failed ({done.returncode}):\n" + "\n".join(last))
    return done.stdout


def build_args(arguments: Mapping[str, str]) -> list[str]:
    return [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]

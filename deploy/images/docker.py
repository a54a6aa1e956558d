"""Docker or Podman, through the command line."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.images.containers import BUILD_S, PATH, PULL_S, STOP_S, ContainerSpec, Running, build_args, output_of


class Docker:
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
            output_of("tar", "--create", "--file", f"{folder}/rootfs.tar", "--directory", str(rootfs), ".")
            output_of(self.name, "import", "--change", f"ENV {PATH}", f"{folder}/rootfs.tar", image)

    def build(self, image: str, target: str, arguments: Mapping[str, str]) -> None:
        form = ["--format", "docker"] if self.name == "podman" else []  # the OCI format has no health check
        output_of(
            self.name, "build", *form, "--target", target, "--tag", image, *build_args(arguments), ".", seconds=BUILD_S
        )

    def config(self, image: str) -> dict[str, Any]:
        [described] = json.loads(output_of(self.name, "image", "inspect", image))
        config: dict[str, Any] = described["Config"]
        return {"Healthcheck": described.get("HealthCheck"), **config}  # Podman has it one level up

    def bytes(self, image: str) -> int:
        return int(json.loads(output_of(self.name, "image", "inspect", image))[0]["Size"])

    @contextmanager
    def running(self, spec: ContainerSpec, log: Path) -> Iterator[Running]:
        options = ["--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]  # noqa: S108
        options += ["--security-opt", "no-new-privileges"]
        options += [word for item in spec.environment.items() for word in ("--env", "=".join(item))]
        options += ["--volume", f"{spec.secrets}:/run/secrets:ro"] if spec.secrets else []
        options += ["--user", spec.user] if spec.user else []
        with log.open("wb") as file:
            process = subprocess.Popen(
                [self.name, "run", *options, spec.image, *spec.command], stdout=file, stderr=subprocess.STDOUT
            )
        try:
            yield Running(process, log)
        finally:
            process.terminate()
            process.wait(STOP_S)

    def stop(self, running: Running) -> None:
        running.process.terminate()  # passed on to the container

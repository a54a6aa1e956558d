"""Who builds an image here and runs it: Docker or Podman where one works, else buildah."""

from __future__ import annotations

import os
import shutil
import subprocess

from deploy.images.buildah import Buildah
from deploy.images.containers import Engine
from deploy.images.docker import Docker


def found() -> Engine | None:
    """The first that works here; Docker's command without its service does not."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, timeout=60).returncode == 0:
            return Docker(name)
    if shutil.which("buildah") and os.geteuid() == 0:
        return Buildah()
    return None

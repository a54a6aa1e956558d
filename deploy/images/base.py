"""The base image: Python's official one or, where it cannot be pulled, a stand-in from Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.images.engine import ROOT, Engine, ImageError, output_of

STAND_IN = "localhost/conviction-base-stand-in:bookworm"
"""Debian 12 with its own Python 3.11: larger than Python's slim image, and not what is deployed."""

PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
DEBOOTSTRAP_S = 1800


def official() -> str:
    """Return the base image that the Dockerfile names."""
    [named] = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return str(named)


def base(engine: Engine) -> str:
    """Return an available base image. Raises `ImageError` where neither is available."""
    name = f"docker.io/library/{official()}" if engine.podman else official()
    if engine.has(name):
        return name
    if not engine.has(STAND_IN):
        make(engine)
    return STAND_IN


def make(engine: Engine) -> None:
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise ImageError(f"{official()} cannot be pulled; a stand-in needs root and Debian's package debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        rootfs = Path(folder) / "rootfs"
        output_of(
            "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(rootfs), seconds=DEBOOTSTRAP_S
        )
        for path in NOT_NEEDED:
            subprocess.run(["find", str(rootfs / path), "-mindepth", "1", "-delete"], check=True)
        (rootfs / "usr/bin/python").symlink_to("python3")
        rootfs.chmod(0o755)
        engine.take(STAND_IN, rootfs)

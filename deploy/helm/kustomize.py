"""Kustomize, from kubectl: what a folder under engines/ makes of a rendered chart."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml  # type: ignore[import-untyped]

from deploy.helm.helm import Document, Refused

FILE = "kustomization.yaml"
RENDERED = "rendered.yaml"
"""The resource that Helm writes."""


def load(folder: Path) -> Document:
    """Load a folder's kustomization."""
    loaded: Document = yaml.safe_load((folder / FILE).read_text())
    return loaded


def patches(folder: Path) -> dict[str, list[Document]]:
    """Return the JSON patches of a folder by the name of their Deployment."""
    return {each["target"]["name"]: yaml.safe_load(each["patch"]) for each in load(folder)["patches"]}


def build(folder: Path, rendered: str) -> list[Document]:
    """Build a folder with a rendered chart. Raises `Refused` for a patch without effect or a key given twice."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise Refused("kubectl is not installed: its kustomize adds to the chart what kustomization.yaml states")
    with TemporaryDirectory(prefix="conviction-kustomize-") as copy:
        for path in folder.glob("*.yaml"):
            shutil.copy(path, copy)
        Path(copy, RENDERED).write_text(rendered)
        done = subprocess.run([kubectl, "kustomize", copy], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Refused(done.stderr.strip())
    return list(yaml.safe_load_all(done.stdout))

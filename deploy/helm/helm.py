"""Helm, from the package helm-binary: render a chart with values, or raise the reason of its refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

HELM = Path(sys.executable).parent / "helm"
CHART = Path(__file__).parent / "gateway"
EXAMPLE = Path(__file__).parent / "example.yaml"

Document = dict[str, Any]


class Refused(Exception):
    """Helm rejected the values or the chart; the message is Helm's."""


def lint(chart: Path, values: Mapping[str, Any]) -> None:
    """Lint the chart. Raises `Refused` for an error or a warning."""
    _run(["lint", "--strict", str(chart), "--values", "-"], values)


def rendered(
    chart: Path, values: Mapping[str, Any], release: str = "conviction", namespace: str = "conviction"
) -> list[Document]:
    """Render the manifests of a release, without CRDs. Raises `Refused`."""
    return [document for document in yaml.safe_load_all(text(chart, values, release, namespace)) if document]


def text(chart: Path, values: Mapping[str, Any], release: str, namespace: str) -> str:
    """Render as `rendered`, to YAML as Helm prints it."""
    return _run(["template", release, str(chart), "--namespace", namespace, "--values", "-"], values)


def example() -> Document:
    """Load the values of example.yaml."""
    values: Document = yaml.safe_load(EXAMPLE.read_text())
    return values


def one(documents: list[Document], kind: str, ending: str = "") -> Document:
    """Return the only manifest of the kind whose name has the ending."""
    [found] = [each for each in documents if each["kind"] == kind and each["metadata"]["name"].endswith(ending)]
    return found


def _run(command: list[str], values: Mapping[str, Any]) -> str:
    done = subprocess.run([HELM, *command], input=json.dumps(values), capture_output=True, text=True, timeout=120)
    if done.returncode:
        said = (done.stderr + done.stdout).splitlines()
        raise Refused("\n".join(line for line in said if "found symbolic link" not in line))
    return done.stdout

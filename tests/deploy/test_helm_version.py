"""One version of the project, and one of vLLM, in the chart, the example, the Dockerfiles' commands and the guides."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml  # type: ignore[import-untyped]

import app
from deploy.helm.helm import CHART, example

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEPLOYED = [ROOT / "docker-compose.yml", ROOT / ".env.example", *sorted((ROOT / "deploy/helm").rglob("*.yaml"))]


def named(pattern: str, paths: list[Path]) -> set[str]:
    """Return the versions that the files name."""
    return {found for path in paths for found in re.findall(pattern, path.read_text())}


def test_chart_package_and_example_have_the_project_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {chart["version"], chart["appVersion"], app.__version__} == {PROJECT["version"]}
    assert example()["image"]["tag"] == PROJECT["version"]


def test_the_guides_name_images_of_the_project_s_version() -> None:
    images = named(r"conviction(?:-training)?:(\d[\w.]*\w)", GUIDES)
    assert images | named(r"VERSION=(\d[\w.]*\w)", GUIDES) == {PROJECT["version"]}


def test_the_newest_release_in_the_changelog_is_the_project_s_version() -> None:
    assert re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == PROJECT["version"]


def test_one_version_of_vllm_is_served() -> None:
    [pinned] = PROJECT["optional-dependencies"]["vllm"]
    version = pinned.removeprefix("vllm==")
    assert named(r"vllm-openai(?:-cpu)?:v(\d[\w.]*\w)", [*GUIDES, *DEPLOYED]) == {version}
    assert named(r"vllm==(\d[\w.]*\w)", GUIDES) == {version}

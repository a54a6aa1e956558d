"""Documentation names only what exists: settings, files, headings, commands and modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
KINDS = ("tutorials", "how-to", "reference", "explanation", "decisions")
COMPOSE_VARIABLES = {"CONVICTION_MODEL_ID", "CONVICTION_CPU_WEIGHTS", "CONVICTION_IMAGE"}
FOLDERS = "app|training|deploy|bench|docs|tests|requirements|model_store"
EXAMPLES = {"training/NAME", "tests/training/NAME", "model_store/.current"}
"""Paths that a reader creates."""

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@of_each_page
def test_every_variable_that_is_named_is_read(page: Path) -> None:
    known = set(re.findall(r"\bCONVICTION_\w+", (DOCS / "reference" / "settings.md").read_text())) | COMPOSE_VARIABLES
    named = set(re.findall(r"\bCONVICTION_\w*[A-Z0-9]\b(?!_)", page.read_text()))
    assert {name.removesuffix("_FILE") if name not in known else name for name in named} <= known


@of_each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not heading or heading in headings(found), target


def headings(page: Path) -> Iterator[str]:
    """Each heading in the form in which links name it."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@of_each_page
def test_every_path_exists(page: Path) -> None:
    named = re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*\w)", re.sub(r"https?://\S+", "", page.read_text()))
    there = [path for path in named if any(ROOT.glob(path)) or any(ROOT.glob(f"{path}*"))]
    assert set(named) - set(there) <= EXAMPLES


@of_each_page
def test_every_command_exists(page: Path) -> None:
    text, makefile = page.read_text(), (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for module in re.findall(r"python -m ((?:app|training|deploy|bench)[\w.]*\w)", text):
        assert find_spec(module), f"python -m {module}"
    for environment in re.findall(r"\.envs/(\w+)/", text):
        list_of_it = ROOT / "requirements" / f"{environment}.txt"
        assert list_of_it.exists() or environment in ("tools", "uv"), f".envs/{environment}"


def test_the_map_names_every_page() -> None:
    targets = re.findall(r"\]\(([^)#]+\.md)\)", (DOCS / "README.md").read_text())
    linked = {(DOCS / target).resolve() for target in targets}
    pages = {page for page in DOCS.rglob("*.md") if page.parent != DOCS / "decisions"} - {DOCS / "README.md"}
    assert pages <= linked


def test_every_page_is_of_one_kind() -> None:
    kinds = {page.relative_to(DOCS).parts[0] for page in DOCS.rglob("*.md")}
    assert kinds == {*KINDS, "README.md", "architecture.md"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150

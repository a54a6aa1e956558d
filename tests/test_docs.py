"""The documentation names what is there: settings, errors, headers, files and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import app.errors
from app.contract import hardware
from app.errors import ClientGone
from app.settings.client import ClientSettings
from app.settings.gateway import Settings
from app.settings.loading import PREFIX
from app.settings.supervisor import SupervisorSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
VARIABLES = {
    *(PREFIX + name.upper() for form in (Settings, SupervisorSettings, ClientSettings) for name in form.model_fields),
    PREFIX + "MODEL_ID",  # docker-compose.yml's own
    PREFIX + "API_KEY_FILE",  # a secret by file
    hardware.DTYPE_VARIABLE,
    hardware.WEIGHTS_VARIABLE,
    hardware.COMPILE_VARIABLE,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_that_is_named_is_read(page: Path) -> None:
    assert set(re.findall(rf"{PREFIX}\w*[A-Z0-9]\b(?!_)", page.read_text())) <= VARIABLES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not heading or heading in headings(found), target


def headings(page: Path) -> Iterator[str]:
    """As links name them."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_errors_that_a_client_may_see_are_listed_by_status() -> None:
    errors = [each for each in vars(app.errors).values() if isinstance(each, type) and "code" in vars(each)]
    seen = {(str(each.status), each.code) for each in errors if each is not ClientGone}
    rows = re.findall(r"^\| ([45]\d\d) \| (.*) \|$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert {(status, code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)} == seen

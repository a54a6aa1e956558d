"""The Dockerfile: contents and installation. deploy/check-image builds and runs the images."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


def stages() -> dict[str, str]:
    """Return the text of each stage, by name."""
    parts = re.split(r"^FROM (\S+) AS (\w+)$", TEXT, flags=re.MULTILINE)
    assert set(parts[1::3]) == {"${PYTHON_IMAGE}"}  # one base, which a build argument may pin by its digest
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def test_the_gateway_is_the_last_stage_and_runs_nothing_while_it_is_built() -> None:
    *_, last = stages()
    assert last == "gateway"
    assert not re.search("^RUN", stages()[last], re.MULTILINE)


@pytest.mark.parametrize("stage", ["gateway", "training"])
def test_an_image_has_an_unprivileged_user_and_labels(stage: str) -> None:
    text = stages()[stage]
    assert re.findall("^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    for label in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in text
    assert "org.opencontainers.image.source" not in text


def test_the_gateway_has_a_command_and_a_health_check() -> None:
    text = stages()["gateway"]
    assert 'CMD ["conviction", "serve"]' in text
    assert re.search(r"^HEALTHCHECK .*/health/live", text, re.MULTILINE)
    assert "CONVICTION_ALLOW_ROOT=0" in text


def test_all_is_installed_by_hash_and_as_wheels() -> None:
    [install] = re.findall(r"^RUN pip .*? install(.*?)(?<!\\)$", stages()["build"], re.MULTILINE | re.DOTALL)[:1]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install.split())
    assert "requirements/gateway.txt" in install
    installs = re.findall(r"pip --python \S+ install[^&]*", stages()["build"])
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_only_named_files_are_copied() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    assert first == "*"
    let_in = [line.removeprefix("!") for line in rest if line.startswith("!")]
    for private in (".env", "secrets/api_keys", ".git/config", ".models/x", "runs/x", "tests/conftest.py"):
        assert not any(fnmatch(private, pattern) or private.startswith(f"{pattern}/") for pattern in let_in), private
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)
    for source in (word for line in copied for word in line.split()):
        assert (ROOT / source).exists()
        assert source.split("/")[0] in let_in, source

"""A model's files contain only data: none is executed, here or by the server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from app.contract import serving

ROOT = Path(__file__).parents[2]
HARMLESS = {".safetensors", ".json", ".md", ".png", ""}
"""No pickle (.bin, .pt, .pth, .ckpt, .pkl), which can execute code when it is loaded, and no code."""


def tracked(*paths: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name]


def test_the_store_holds_nothing_that_could_run() -> None:
    files = tracked("model_store")
    assert any(file.suffix == ".safetensors" for file in files)
    assert {file.suffix for file in files} <= HARMLESS
    assert not [file for file in files if (ROOT / file).stat().st_mode & 0o111]


def test_no_server_is_told_to_trust_a_model_s_code() -> None:
    assert not [option for option in serving.OPTIONS if "trust" in option]
    trusting = re.compile(r"trust[-_]remote[-_]code(?!\s*=\s*False)", re.IGNORECASE)
    searched = [file for file in tracked("app", "deploy", "training", "docker-compose.yml") if text(file)]
    assert len(searched) > 100
    assert [file for file in searched if trusting.search(text(file))] == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE"])
def test_a_server_fetches_nothing(variable: str) -> None:
    assert serving.ENVIRONMENT[variable] == "1"
    assert f'{variable}: "1"' in (ROOT / "docker-compose.yml").read_text()


def text(file: Path) -> str:
    """Return a file's text, empty if it is binary."""
    try:
        return (ROOT / file).read_text("utf-8") if (ROOT / file).is_file() else ""
    except UnicodeDecodeError:
        return ""

"""The host's pip settings for registries, mounted into a build. The image does not keep them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

OWN = ("cert", "constraint", "default-timeout", "extra-index-url", "find-links", "index-url", "trusted-host")


def settings() -> dict[str, str]:
    """Return the settings for package sources; environment variables override files, as in pip."""
    listed = subprocess.run([_python(), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:"))
    found = dict(re.findall(r"^[\w:]*\.([\w-]+)=(.+)$", "\n".join(lines), re.MULTILINE))
    return {name: str(ast.literal_eval(value)) for name, value in found.items() if name in OWN}


def _python() -> str:
    """Return an interpreter that has pip: an environment made by uv has none, and the Python below it has."""
    return sys.executable if find_spec("pip") else str(Path(sys.base_prefix) / "bin/python3")


def volumes(folder: Path) -> Iterator[str]:
    """Yield mounts, HOST:INSIDE:ro, of a pip.conf written to the folder and of the files that it names."""
    found = settings()
    if not found:
        return
    written = folder / "pip.conf"
    written.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in found.items())]) + "\n")
    yield f"{written}:/etc/pip.conf:ro"
    for path in sorted(set(_paths(found))):
        yield f"{path}:{path}:ro"


def _paths(found: dict[str, str]) -> Iterator[Path]:
    for word in (word for value in found.values() for word in value.split()):
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            yield path.parent if word.startswith("file://") else path  # an index page links to files in its folder

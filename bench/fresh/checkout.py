"""A clone of this checkout in an empty folder, with empty caches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from bench.stored import ROOT

DROPPED = ("CONVICTION_", "OPENAI_", "REDIS_", "MAKE", "MFLAGS", "PORT", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
"""Beginnings of variables that would change what a clone does: settings, and those of a `make` around this one."""


@dataclass(frozen=True)
class Checkout:
    """The clone, and the environment in which its commands run."""

    folder: Path
    environment: Mapping[str, str]


def differs_from_head() -> bool:
    """Return whether the checkout has uncommitted changes."""
    return bool(_git("status", "--porcelain"))


@contextmanager
def cloned(extra: Mapping[str, str], *, keep: bool) -> Iterator[Checkout]:
    """Clone the checkout's HEAD into a temporary folder, and remove it afterwards unless `keep`."""
    place = Path(mkdtemp(prefix="conviction-fresh-"))
    try:
        (place / "tmp").mkdir()
        clone = place / "conviction"
        _git("clone", "--quiet", "--no-local", str(ROOT), str(clone))
        subprocess.run(
            ["git", "-C", str(clone), "checkout", "--quiet", "--detach", _git("rev-parse", "HEAD")], check=True
        )
        yield Checkout(clone, {**environment(place, os.environ), **extra})
    finally:
        if keep:
            print(f"kept: {place}", flush=True)
        else:
            print(f"removing {place}", flush=True)
            shutil.rmtree(place, ignore_errors=True)


def environment(place: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without its settings, and with every cache in `place`."""
    caches = {
        "XDG_CACHE_HOME": "cache",
        "UV_CACHE_DIR": "cache/uv",
        "PIP_CACHE_DIR": "cache/pip",
        "TORCHINDUCTOR_CACHE_DIR": "cache/inductor",
        "TRITON_CACHE_DIR": "cache/triton",
        "VLLM_CACHE_ROOT": "cache/vllm",
        "HF_HOME": "cache/huggingface",
        "TMPDIR": "tmp",
    }
    return {
        **{name: value for name, value in inherited.items() if not name.startswith(DROPPED)},
        **{name: str(place / folder) for name, folder in caches.items()},
        "PIP_NO_CACHE_DIR": "1",
        "PYTHON": sys.executable,
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()

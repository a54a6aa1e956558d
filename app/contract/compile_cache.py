"""vLLM's cache of compiled code, which a start that a kill or a full disk ends may leave with truncated kernels."""

from __future__ import annotations

import shutil
from pathlib import Path


def clear_after_crash(cache: Path, marker: Path) -> None:
    """Delete the cache if `marker` exists: a server creates it at its start and removes it once all code is compiled.

    The compiler writes kernels in place, and PyTorch loads any file that exists: a truncated one would end every start.
    """
    if marker.exists():
        shutil.rmtree(cache, ignore_errors=True)

"""Compiled kernels in vLLM's cache: remove those that a kill or a full disk truncated before the next start."""

from __future__ import annotations

from pathlib import Path
from struct import Struct

ELF64 = Struct("<16sHHIQQQIHHHHHH")
"""The file's header, little-endian (ELF-64 Object File Format, version 1.5, figure 2)."""


def discard_cut_off(cache: Path) -> None:
    """Remove truncated kernels, so that vLLM compiles them again.

    The compiler writes kernels in place, and PyTorch loads any file that exists: a truncated one would end every start.
    """
    for library in cache.rglob("*.so"):
        if not _whole(library):
            library.unlink()


def _whole(library: Path) -> bool:
    """Whether a 64-bit ELF file contains all of its section headers, which are its last part."""
    with library.open("rb") as file:
        header = file.read(ELF64.size)
    if len(header) < ELF64.size or not header.startswith(b"\x7fELF"):
        return False
    *_, sections_at, _, _, _, _, size, number, _ = ELF64.unpack(header)
    end: int = sections_at + size * number
    return sections_at > 0 and library.stat().st_size >= end

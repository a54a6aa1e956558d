"""Compiled kernels in vLLM's cache: those that a kill or a full disk cut off must go before the next start."""

from __future__ import annotations

from pathlib import Path
from struct import Struct

ELF64 = Struct("<16sHHIQQQIHHHHHH")
"""The file's header, little-endian (ELF-64 Object File Format, version 1.5, figure 2)."""


def discard_cut_off(cache: Path) -> None:
    """Remove compiled kernels that are not whole: the compiler writes them in place, and PyTorch, which takes any file
    that is there, would end at its first use, each time anew. They are compiled again."""
    for library in cache.rglob("*.so"):
        if not _whole(library):
            library.unlink()


def _whole(library: Path) -> bool:
    """Whether a 64-bit ELF file reaches to the end of its section headers, which stand last in it."""
    with library.open("rb") as file:
        header = file.read(ELF64.size)
    if len(header) < ELF64.size or not header.startswith(b"\x7fELF"):
        return False
    *_, sections_at, _, _, _, _, size, number, _ = ELF64.unpack(header)
    end: int = sections_at + size * number
    return sections_at > 0 and library.stat().st_size >= end

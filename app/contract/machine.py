"""This machine: its CPU, memory and GPUs. Needs only the standard library, like `app.contract.hardware`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA device, as nvidia-smi describes it."""

    name: str
    memory_gib: float
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """What was detected. `memory_gib` is the container's limit where it has one."""

    architecture: str
    cpu: str
    flags: frozenset[str]
    cores: int
    memory_gib: float
    gpus: tuple[Gpu, ...] = ()

    def __str__(self) -> str:
        vector = "AVX-512" if "avx512f" in self.flags else "AVX2" if "avx2" in self.flags else "no AVX2"
        cpu = f"{self.cpu} ({vector})" if self.architecture == "x86_64" else f"{self.cpu} ({self.architecture})"
        gpu = f", {len(self.gpus)} x {self.gpus[0].name}" if self.gpus else ""
        return f"{cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB{gpu}"


def detect(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Read the CPU's flags, the usable cores, the memory and the GPUs of this machine."""
    lines = (line.partition(":") for line in _read(proc / "cpuinfo").splitlines())
    cpu: dict[str, str] = {}
    for name, _, value in lines:
        cpu.setdefault(name.strip(), value.strip())
    return Machine(
        architecture=platform.machine(),
        cpu=cpu.get("model name") or cpu.get("CPU part") or "unknown CPU",
        flags=frozenset((cpu.get("flags") or cpu.get("Features") or "").split()),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=_memory_bytes(proc, cgroup) / 2**30,
        gpus=_gpus(),
    )


def _memory_bytes(proc: Path, cgroup: Path) -> int:
    total = next(
        (int(line.split()[1]) * 1024 for line in _read(proc / "meminfo").splitlines() if line.startswith("MemTotal:")),
        0,
    )
    limit = _read(cgroup / "memory.max").strip() or _read(cgroup / "memory/memory.limit_in_bytes").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _gpus() -> tuple[Gpu, ...]:
    """Return the devices that nvidia-smi lists and CUDA_VISIBLE_DEVICES does not hide."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (smi := shutil.which("nvidia-smi")):
        return ()
    query = [smi, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(gpu for line in listed.splitlines() if (gpu := _gpu(line)))


def _gpu(line: str) -> Gpu | None:
    """Return the device of a line such as "Tesla T4, 15360, 7.5"; None for a message, or a device without CUDA.

    A GPU that shares the machine's memory reports "[N/A]", which counts as 0.
    """
    found = re.fullmatch(r"(.+), *(\d+|\[N/A\]), *(\d+)\.(\d+)", line.strip())
    if not found:
        return None
    name, memory, major, minor = found.groups()
    return Gpu(name, float(memory) / 1024 if memory.isdigit() else 0.0, (int(major), int(minor)))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

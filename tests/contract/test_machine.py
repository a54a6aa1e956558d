"""How a machine is recognized, from /proc, its container's limit and nvidia-smi."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.contract.machine import Gpu, detect


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a machine with 32 GiB."""
    folder = tmp_path / "proc"
    folder.mkdir()
    core = "processor\t: {}\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu avx2 avx512f\n\n"
    (folder / "cpuinfo").write_text(core.format(0) + core.format(1))
    (folder / "meminfo").write_text(f"MemTotal:       {32 * 2**20} kB\nMemFree:        1 kB\n")
    return folder


def test_flags_and_memory_are_read_from_proc(proc: Path, tmp_path: Path) -> None:
    machine = detect(proc, tmp_path / "no-cgroup")
    assert machine.cpu == "AMD EPYC 7B13"
    assert machine.flags == {"fpu", "avx2", "avx512f"}
    assert machine.memory_gib == 32
    assert machine.cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("file", "limit", "gib"),
    [
        ("memory.max", f"{8 * 2**30}\n", 8),
        ("memory.max", "max\n", 32),
        ("memory.max", f"{64 * 2**30}\n", 32),
        ("memory/memory.limit_in_bytes", f"{4 * 2**30}\n", 4),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 32),
    ],
)
def test_a_container_s_limit_counts_as_the_memory(proc: Path, tmp_path: Path, file: str, limit: str, gib: int) -> None:
    path = tmp_path / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(limit)
    assert detect(proc, tmp_path / "cgroup").memory_gib == gib


def nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of that name first on the PATH."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_that_nvidia_smi_lists(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = r"'NVIDIA A100-SXM4, 80GB, 81920, 8.0\nTesla T4, 15360, 7.5\nNVIDIA GB10, [N/A], 12.1\n'"
    nvidia_smi(tmp_path / "bin", f"printf {lines}", monkeypatch)
    machine = detect(proc, tmp_path)
    assert machine.gpus == (
        Gpu("NVIDIA A100-SXM4, 80GB", 80.0, (8, 0)),
        Gpu("Tesla T4", 15.0, (7, 5)),
        Gpu("NVIDIA GB10", 0.0, (12, 1)),
    )
    assert str(machine).endswith(", 3 x NVIDIA A100-SXM4, 80GB")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_can_be_hidden(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    nvidia_smi(tmp_path / "bin", "echo 'Tesla T4, 15360, 7.5'", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert detect(proc, tmp_path).gpus == ()


@pytest.mark.parametrize(
    "script",
    [
        "echo 'No devices were found'",
        "echo 'no communication with the NVIDIA driver'; exit 9",
        "exit 0",
        "echo 'GRID K520, [N/A], [N/A]'",
    ],
    ids=["no devices", "no driver", "nothing", "not available"],
)
def test_a_driver_without_usable_devices_is_no_gpu(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    nvidia_smi(tmp_path / "bin", script, monkeypatch)
    assert detect(proc, tmp_path).gpus == ()

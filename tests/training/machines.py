"""Profiles of machines of each kind, for tests that must not depend on the one they run on."""

from __future__ import annotations

from app.contract.hardware import Profile, choose
from app.contract.machine import Gpu, Machine

AVX512 = Machine("x86_64", "EPYC", frozenset({"avx2", "avx512f", "avx512_bf16"}), 2, 24.0)
AVX2 = Machine("x86_64", "EPYC", frozenset({"avx2"}), 2, 24.0)
T4 = Machine("x86_64", "Xeon", frozenset({"avx2"}), 8, 64.0, (Gpu("T4", 15.0, (7, 5)),))
V100 = Machine("x86_64", "Xeon", frozenset({"avx2"}), 8, 64.0, (Gpu("V100", 16.0, (7, 0)),))
H200 = Machine("x86_64", "Xeon", frozenset({"avx2"}), 8, 64.0, (Gpu("H200", 139.0, (9, 0)),))


def profile_of(machine: Machine, **environment: str) -> Profile:
    return choose(machine, environment)

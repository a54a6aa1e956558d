"""The training dtype of this machine, from the hardware profile and, on a CPU with bf16, a measurement."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from app.contract import hardware
from app.contract.machine import Machine, detect

if TYPE_CHECKING:
    import torch

PRODUCT = 1024
"""Rows and columns of the matrices that are multiplied to compare dtypes."""
REPETITIONS = 5


def training_machine() -> Machine:
    """Return this machine, without GPUs that this PyTorch cannot use."""
    import torch

    machine = detect()
    return machine if torch.cuda.is_available() else replace(machine, gpus=())


def training_dtype(environment: Mapping[str, str] = os.environ) -> torch.dtype:
    """Return bfloat16 if the device supports it, float16 on older GPUs (T4, V100), else float32.

    A GPU that is too old to serve 4-bit weights, such as the V100, can train. A CPU with bf16 that multiplies float32
    faster trains in float32, unless CONVICTION_DTYPE asks for bfloat16. GPUs that this PyTorch cannot use are ignored.
    Raises `UnsupportedMachine` like `hardware.choose` and `require_trainable`.
    """
    import torch

    profile = hardware.choose(training_machine(), environment, serves=False)
    require_trainable(profile)
    dtype: torch.dtype = getattr(torch, profile.dtype)
    chosen_here = profile.device == "cpu" and not environment.get(hardware.DTYPE_VARIABLE)
    if chosen_here and dtype == torch.bfloat16 and product_seconds(torch.float32) < product_seconds(torch.bfloat16):
        return torch.float32
    return dtype


@cache
def product_seconds(dtype: torch.dtype) -> float:
    """Return the fastest of several products of two matrices, in seconds.

    On two cores of an Emerald Rapids Xeon without AMX, bf16 reaches 165 GFLOP/s and float32 320 (`python -m
    training.precision`).
    """
    import torch

    left, right = (torch.ones(PRODUCT, PRODUCT, dtype=dtype) for _ in range(2))

    def once() -> float:
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        return time.perf_counter() - start

    return min(once() for _ in range(REPETITIONS))


def require_trainable(profile: hardware.Profile) -> None:
    """Raise `UnsupportedMachine` for float16 without a GPU, which mixed precision needs."""
    if profile.dtype == "float16" and profile.device == "cpu":
        raise hardware.UnsupportedMachine(
            f"{hardware.DTYPE_VARIABLE}=float16 trains on a GPU only: unset it or set float32"
        )


if __name__ == "__main__":
    import torch

    for dtype in (torch.bfloat16, torch.float32):
        print(f"{dtype}: {2 * PRODUCT**3 / product_seconds(dtype) / 1e9:.0f} GFLOP/s")
    print(f"training in {training_dtype()}")

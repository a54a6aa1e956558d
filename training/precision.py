"""The training dtype of this machine, from the hardware profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from app.contract import hardware

if TYPE_CHECKING:
    import torch


def training_dtype(environment: Mapping[str, str] = os.environ) -> torch.dtype:
    """Return bfloat16 if the device supports it, float16 on older GPUs, else float32.

    GPUs that this PyTorch cannot use are ignored. Raises `UnsupportedMachine` like `hardware.choose` and
    `require_trainable`.
    """
    import torch

    machine = hardware.detect()
    if not torch.cuda.is_available():
        machine = replace(machine, gpus=())
    profile = hardware.choose(machine, environment)
    require_trainable(profile)
    dtype: torch.dtype = getattr(torch, profile.dtype)
    return dtype


def require_trainable(profile: hardware.Profile) -> None:
    """Raise `UnsupportedMachine` for float16 without a GPU, which mixed precision needs."""
    if profile.dtype == "float16" and profile.device == "cpu":
        raise hardware.UnsupportedMachine(
            f"{hardware.DTYPE_VARIABLE}=float16 trains on a GPU only: unset it or set float32"
        )

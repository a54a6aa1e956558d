"""The hardware profile: which dtype, weights and vLLM options fit a machine.

Serving, building, training and evaluation all use this profile. The module needs nothing but the standard library, so
that `python3 -m app.contract.hardware` can report the choice before anything is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from app.contract.machine import Gpu, Machine, detect

Dtype = Literal["bfloat16", "float16", "float32"]
WeightFormat = Literal["awq", "dequantized"]
"""`awq`: 4-bit weights in AWQ's layout. `dequantized`: the same weights, multiplied out once into float32."""

MIN_MEMORY_GIB = 6.0
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
BF16_CAPABILITY = (8, 0)
MIN_CAPABILITY = (7, 5)
"""Of vLLM's kernels for AWQ (docs.vllm.ai, supported quantization hardware)."""

DTYPE_VARIABLE, WEIGHTS_VARIABLE, COMPILE_VARIABLE = "CONVICTION_DTYPE", "CONVICTION_WEIGHTS", "CONVICTION_COMPILE"


class UnsupportedMachine(ValueError):
    """This machine cannot serve or train the model; the message names the cause and the remedy."""


@dataclass(frozen=True)
class Profile:
    """What to run on a machine, and why."""

    machine: str
    device: Literal["cpu", "gpu"]
    dtype: Dtype
    weights: WeightFormat
    compiled: bool
    threads: int
    reason: str

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        return f"{self.weights} weights in {self.dtype}, {how}, {self.threads} threads: {self.reason}"


def profile(environment: Mapping[str, str] = os.environ) -> Profile:
    """Return this machine's profile; CONVICTION_DTYPE, _WEIGHTS and _COMPILE override single choices.

    Raises `UnsupportedMachine` for a machine that is too small or an override that it cannot run.
    """
    return choose(detect(), environment)


def choose(machine: Machine, environment: Mapping[str, str], serves: bool = True) -> Profile:
    """Derive the profile from what was detected and the overrides; a machine that only trains needs no 4-bit kernel."""
    require_supported(machine)
    if serves:
        _require_kernels(machine.gpus)
    dtype, why = _gpu_dtype(machine.gpus) if machine.gpus else _cpu_dtype(machine.flags)
    reasons = [why]
    wanted_dtype = _override(environment, DTYPE_VARIABLE, get_args(Dtype))
    if wanted_dtype:
        dtype = wanted_dtype  # type: ignore[assignment]  # one of Dtype's own values
        reasons = [f"{DTYPE_VARIABLE} asks for {dtype}"]
    kernel = _has_awq_kernel(machine, dtype)
    weights: WeightFormat = "awq" if kernel else "dequantized"
    if not kernel:
        reasons.append("vLLM's 4-bit kernel needs AVX-512 with bf16")
    if wanted := _override(environment, WEIGHTS_VARIABLE, get_args(WeightFormat)):
        if wanted == "awq" and not kernel:
            raise UnsupportedMachine(
                f"{WEIGHTS_VARIABLE}=awq needs a GPU or a CPU with AVX-512 and bf16; {machine} has neither: unset it"
            )
        weights = wanted  # type: ignore[assignment]
        reasons.append(f"{WEIGHTS_VARIABLE} asks for {weights}")
    compiled = _override(environment, COMPILE_VARIABLE, ("0", "1")) != "0"
    if not compiled:
        reasons.append(f"{COMPILE_VARIABLE}=0 asks for eager execution")
    device: Literal["cpu", "gpu"] = "gpu" if machine.gpus else "cpu"
    return Profile(str(machine), device, dtype, weights, compiled, machine.cores, "; ".join(reasons))


def require_supported(machine: Machine) -> None:
    """Raise `UnsupportedMachine` for less memory than the programs need, or a CPU that vLLM has no build for."""
    if machine.memory_gib < MIN_MEMORY_GIB:
        raise UnsupportedMachine(
            f"{machine.memory_gib:.1f} GiB of memory are too few: gateway, store and model server need "
            f"{MIN_MEMORY_GIB:.0f} GiB; use a larger machine, or `make demo`, which runs without a model"
        )
    if machine.architecture == "x86_64" and "avx2" not in machine.flags and not machine.gpus:
        raise UnsupportedMachine(
            f"the CPU ({machine.cpu}) lacks AVX2, which vLLM needs; use a machine with AVX2, point "
            "CONVICTION_VLLM_URLS at a model server elsewhere, or run `make demo`, which needs no model"
        )


def _require_kernels(gpus: tuple[Gpu, ...]) -> None:
    for gpu in gpus:
        if gpu.capability < MIN_CAPABILITY:
            raise UnsupportedMachine(
                f"{gpu.name} has compute capability {gpu.capability[0]}.{gpu.capability[1]}, and vLLM's 4-bit "
                "kernels need 7.5; CUDA_VISIBLE_DEVICES= runs on the CPU instead"
            )


def _gpu_dtype(gpus: tuple[Gpu, ...]) -> tuple[Dtype, str]:
    oldest = min(gpus, key=lambda gpu: gpu.capability)
    named = f"{oldest.name} (sm_{oldest.capability[0]}{oldest.capability[1]})"
    if oldest.capability >= BF16_CAPABILITY:
        return "bfloat16", f"{named} computes bf16"
    return "float16", f"{named} does not compute bf16"


def _cpu_dtype(flags: frozenset[str]) -> tuple[Dtype, str]:
    if found := sorted(flags & BF16_FLAGS):
        return "bfloat16", f"the CPU computes bf16 ({found[0]})"
    return "float32", "the CPU does not compute bf16 (neither avx512_bf16 nor amx_bf16)"


def _has_awq_kernel(machine: Machine, dtype: Dtype) -> bool:
    return bool(machine.gpus) or ("avx512f" in machine.flags and dtype == "bfloat16")


def _override(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Return the variable's value, or "" where it is unset."""
    value = environment.get(name, "")
    if value and value not in allowed:
        raise UnsupportedMachine(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def main() -> int:
    """Print the machine and its profile; exit with 2 and one line where it is not supported."""
    try:
        chosen = profile()
    except UnsupportedMachine as error:
        print(f"conviction: {error}", file=sys.stderr)
        return 2
    print(f"{chosen.machine}\n{chosen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

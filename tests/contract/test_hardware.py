"""The choice of dtype and weights for machines of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from app.contract import hardware
from app.contract.hardware import UnsupportedMachine, choose
from app.contract.machine import Gpu, Machine

AVX2 = frozenset({"fpu", "avx2", "fma"})
AVX512 = AVX2 | {"avx512f", "avx512bw"}
CPU = Machine("x86_64", "AMD EPYC", AVX2, cores=2, memory_gib=24.0)
T4 = Gpu("Tesla T4", 15.0, (7, 5))
A100 = Gpu("NVIDIA A100", 80.0, (8, 0))
V100 = Gpu("Tesla V100", 16.0, (7, 0))
P100 = Gpu("Tesla P100", 16.0, (6, 0))


def on(flags: frozenset[str] = AVX2, *gpus: Gpu) -> Machine:
    return replace(CPU, flags=flags, gpus=gpus)


@pytest.mark.parametrize(
    ("machine", "dtype", "weights", "why"),
    [
        (on(AVX2), "float32", "dequantized", "the CPU does not compute bf16"),
        (on(AVX512), "float32", "dequantized", "vLLM's 4-bit kernel needs AVX-512 with bf16"),
        (on(AVX512 | {"avx512_bf16"}), "bfloat16", "awq", "avx512_bf16"),
        (on(AVX512 | {"amx_bf16", "amx_tile"}), "bfloat16", "awq", "amx_bf16"),
        (Machine("aarch64", "0xd0c", frozenset({"asimd", "bf16"}), 4, 8.0), "float32", "dequantized", "bf16"),
        (on(AVX2, T4), "float16", "awq", "Tesla T4 (sm_75) does not compute bf16"),
        (on(AVX2, A100), "bfloat16", "awq", "NVIDIA A100 (sm_80) computes bf16"),
        (on(AVX2, A100, T4), "float16", "awq", "Tesla T4 (sm_75)"),
        (on(frozenset(), T4), "float16", "awq", "Tesla T4"),
    ],
    ids=lambda value: str(value) if isinstance(value, Machine) else "",
)
def test_dtype_and_weights_follow_the_hardware(machine: Machine, dtype: str, weights: str, why: str) -> None:
    chosen = choose(machine, {})
    assert (chosen.dtype, chosen.weights) == (dtype, weights)
    assert chosen.device == ("gpu" if machine.gpus else "cpu")
    assert chosen.compiled
    assert chosen.threads == machine.cores
    assert why in chosen.reason


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (replace(CPU, memory_gib=5.9), "5.9 GiB of memory are too few: .* need 6 GiB; .*`make demo`"),
        (on(frozenset({"sse4_2", "avx"})), r"the CPU \(AMD EPYC\) lacks AVX2, .* CONVICTION_VLLM_URLS .*`make demo`"),
        (on(AVX2, P100), r"Tesla P100 has compute capability 6\.0, .* CUDA_VISIBLE_DEVICES= runs on the CPU"),
        (on(AVX2, A100, P100), "Tesla P100"),
        (on(AVX2, V100), r"Tesla V100 has compute capability 7\.0, and vLLM's 4-bit kernels need 7\.5"),
    ],
)
def test_a_machine_that_cannot_serve_is_refused_with_the_remedy(machine: Machine, why: str) -> None:
    with pytest.raises(UnsupportedMachine, match=why):
        choose(machine, {})


@pytest.mark.parametrize(
    ("variables", "dtype", "weights", "compiled"),
    [
        ({"CONVICTION_DTYPE": "float32"}, "float32", "dequantized", True),
        ({"CONVICTION_WEIGHTS": "dequantized"}, "bfloat16", "dequantized", True),
        ({"CONVICTION_COMPILE": "0"}, "bfloat16", "awq", False),
        ({"CONVICTION_COMPILE": "1", "CONVICTION_DTYPE": ""}, "bfloat16", "awq", True),
    ],
)
def test_a_variable_overrides_a_choice(variables: Mapping[str, str], dtype: str, weights: str, compiled: bool) -> None:
    chosen = choose(on(AVX512 | {"avx512_bf16"}), variables)
    assert (chosen.dtype, chosen.weights, chosen.compiled) == (dtype, weights, compiled)
    assert all(name in chosen.reason for name, value in variables.items() if value not in ("", "1"))


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"CONVICTION_DTYPE": "int8"}, "CONVICTION_DTYPE is 'int8'; it must be one of bfloat16, float16, float32"),
        ({"CONVICTION_WEIGHTS": "gguf"}, "CONVICTION_WEIGHTS is 'gguf'; it must be one of awq, dequantized"),
        ({"CONVICTION_COMPILE": "yes"}, "CONVICTION_COMPILE is 'yes'; it must be one of 0, 1"),
        ({"CONVICTION_WEIGHTS": "awq"}, "CONVICTION_WEIGHTS=awq needs a GPU or a CPU with AVX-512 and bf16"),
    ],
)
def test_an_override_that_cannot_be_followed_is_refused(variables: Mapping[str, str], why: str) -> None:
    with pytest.raises(UnsupportedMachine, match=why):
        choose(on(AVX2), variables)


@pytest.mark.parametrize(("memory_gib", "status"), [(24.0, 0), (2.0, 2)])
def test_the_command_prints_the_choice_or_one_line_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], memory_gib: float, status: int
) -> None:
    for name in (hardware.DTYPE_VARIABLE, hardware.WEIGHTS_VARIABLE, hardware.COMPILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "detect", lambda: replace(CPU, memory_gib=memory_gib))
    assert hardware.main() == status
    out, err = capsys.readouterr()
    if status == 0:
        assert out.splitlines()[0] == "AMD EPYC (AVX2), 2 cores, 24 GiB"
        assert out.splitlines()[1].startswith("dequantized weights in float32, compiled, 2 threads: ")
    else:
        assert out == ""
        assert err.startswith("conviction: 2.0 GiB of memory are too few")
        assert err.count("\n") == 1

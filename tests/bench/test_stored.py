from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.machine import Gpu, Machine
from bench.stored import kind, store

CPU = Machine("x86_64", "AMD EPYC", frozenset({"avx2"}), 2, 24.0)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (CPU, "AVX2"),
        (replace(CPU, flags=frozenset({"avx2", "avx512f"})), "AVX-512"),
        (replace(CPU, architecture="aarch64"), "aarch64"),
        (replace(CPU, gpus=(Gpu("Tesla T4", 15.0, (7, 5)),)), "Tesla T4"),
    ],
)
def test_figures_are_kept_by_kind_of_cpu(machine: Machine, name: str) -> None:
    assert kind(machine) == name
    assert kind(machine, emulated=True) == "AVX2 emulated"


def test_an_entry_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    store(("fresh", "AVX2"), {"s": 1}, path)
    store(("fresh", "AVX-512"), {"s": 2}, path)
    store(("vllm_options", "AVX2", "eager"), {"s": 3}, path)
    store(("fresh", "AVX2"), {"s": 4}, path)
    assert json.loads(path.read_text()) == {
        "fresh": {"AVX2": {"s": 4}, "AVX-512": {"s": 2}},
        "vllm_options": {"AVX2": {"eager": {"s": 3}}},
    }

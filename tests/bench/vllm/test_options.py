from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.fingerprint import fingerprint
from app.contract.machine import Machine
from bench.vllm.options import AS_SERVED, OPTIONS, Setup, setups
from tests.supervisor.conftest import Store

AVX2 = Machine("x86_64", "AMD EPYC", frozenset({"avx2"}), 2, 24.0)
AVX512 = replace(AVX2, flags=frozenset({"avx2", "avx512f", "avx512_bf16"}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A model built in both forms."""
    made = Store(tmp_path, fingerprint())
    made.write_build("dequantized")
    return made


def prepared(machine: Machine, store: Store) -> tuple[dict[str, Setup], list[str]]:
    found = list(setups(machine, {}, store.store, store.models))
    return {each.name: each for each in found if isinstance(each, Setup)}, [
        each for each in found if isinstance(each, str)
    ]


def test_each_option_changes_what_its_name_says(store: Store) -> None:
    options, left_out = prepared(AVX512, store)
    assert left_out == ["4-bit in bfloat16: left out: it is what is served here"]
    assert len(options) == len(OPTIONS) - 1
    assert (options[AS_SERVED].profile.weights, options[AS_SERVED].profile.compiled) == ("awq", True)
    assert options[AS_SERVED].environment == {}
    assert not options["eager"].profile.compiled
    assert options["float32"].profile.dtype == "float32"
    assert options["float32"].weights == store.folder / "dequantized"
    assert options["no preloaded libraries"].environment == {"LD_PRELOAD": None}


def test_an_option_that_a_cpu_cannot_run_is_left_out_with_the_reason(store: Store) -> None:
    options, left_out = prepared(AVX2, store)
    assert options[AS_SERVED].profile.weights == "dequantized"
    assert left_out[0].startswith("4-bit in bfloat16: left out: CONVICTION_WEIGHTS=awq needs")
    assert left_out[1:] == ["float32: left out: it is what is served here"]

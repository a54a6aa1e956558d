from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic_core import _pydantic_core

from app.contract.hardware import Profile
from app.contract.manifest import UnusableModel
from app.settings.supervisor import SupervisorSettings
from app.supervisor import vllm
from app.supervisor.failures import CannotUse
from app.supervisor.process import Program
from app.supervisor.weights import choose
from tests.supervisor.conftest import Store

INHERITED = {
    "PATH": "/bin",
    "OPENAI_API_KEY": "sk-hushhush",
    "REDIS_URL": "redis://:hushhush@host",
    "CONVICTION_API_KEYS_FILE": "hushhush",
}
PROFILE = Profile("a machine", "cpu", "bfloat16", "awq", compiled=True, threads=2, reason="a test")


@pytest.fixture
def settings(tmp_path: Path) -> SupervisorSettings:
    return SupervisorSettings(run_dir=tmp_path / "run", vllm_python=Path(sys.executable))


def started(store: Store, settings: SupervisorSettings) -> Program:
    weights = choose(store.store, store.models, "awq", foreign=False)
    return vllm.program(weights, settings, PROFILE, 8001, INHERITED)


def test_it_serves_the_build_under_the_model_s_id_on_loopback(store: Store, settings: SupervisorSettings) -> None:
    words = started(store, settings).command
    options = dict(pairwise(words))
    assert options["--model"] == str(store.folder / "awq")
    assert options["--served-model-name"] == store.manifest.model_id
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "8001"
    assert "--enable-prefix-caching" in words


def test_it_inherits_no_secret_and_looks_nothing_up(store: Store, settings: SupervisorSettings) -> None:
    program = started(store, settings)
    assert program.environment["PATH"] == "/bin"
    assert program.environment["HF_HUB_OFFLINE"] == "1"
    assert program.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "hushhush" not in str(program.environment)
    assert "environment" not in repr(program)


def test_weights_are_checked_at_every_start(store: Store, settings: SupervisorSettings) -> None:
    started(store, settings)
    (store.folder / "awq" / "model.safetensors").write_bytes(b"spoilt")
    with pytest.raises(UnusableModel):
        started(store, settings)


def test_a_missing_interpreter_is_named(store: Store, settings: SupervisorSettings) -> None:
    lacking = settings.model_copy(update={"vllm_python": Path("nowhere/python")})
    with pytest.raises(CannotUse, match=r"^nowhere/python does not exist; CONVICTION_VLLM_PYTHON names"):
        started(store, lacking)


def test_each_life_has_a_log_of_its_own(store: Store, settings: SupervisorSettings) -> None:
    log = started(store, settings).log
    assert log == settings.run_dir / "vllm.log"
    log.write_text("first life")
    assert started(store, settings).log == log
    assert log.with_name("vllm.log.1").read_text() == "first life"


@pytest.mark.parametrize("left", [0, 63, 64, 4096, -1], ids=lambda left: f"{left} bytes")
def test_a_kernel_that_was_cut_off_is_compiled_again(store: Store, settings: SupervisorSettings, left: int) -> None:
    cache = settings.run_dir / "vllm" / "torch_compile_cache" / "ab"
    cache.mkdir(parents=True)
    library, whole, cut = Path(_pydantic_core.__file__).read_bytes(), cache / "whole.main.so", cache / "cut.main.so"
    whole.write_bytes(library)
    cut.write_bytes(library[:left])
    started(store, settings)
    assert whole.read_bytes() == library
    assert not cut.exists()

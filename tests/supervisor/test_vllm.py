from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

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


def program(store: Store, settings: SupervisorSettings) -> Program:
    weights = choose(store.store, store.models, "awq", foreign=False)
    return vllm.program(weights, settings, PROFILE, 8001, INHERITED)


def test_it_serves_the_build_under_the_model_s_id_on_loopback(store: Store, settings: SupervisorSettings) -> None:
    command = program(store, settings).command
    options = dict(pairwise(command))
    assert options["--model"] == str(store.folder / "awq")
    assert options["--served-model-name"] == store.manifest.model_id
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "8001"
    assert "--enable-prefix-caching" in command


def test_it_inherits_no_secret_and_works_offline(store: Store, settings: SupervisorSettings) -> None:
    vllm_program = program(store, settings)
    assert vllm_program.environment["PATH"] == "/bin"
    assert vllm_program.environment["HF_HUB_OFFLINE"] == "1"
    assert vllm_program.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "hushhush" not in str(vllm_program.environment)
    assert "environment" not in repr(vllm_program)


def test_weights_are_checked_at_every_start(store: Store, settings: SupervisorSettings) -> None:
    program(store, settings)
    (store.folder / "awq" / "model.safetensors").write_bytes(b"corrupted")
    with pytest.raises(UnusableModel):
        program(store, settings)


def test_a_missing_interpreter_is_named(store: Store, settings: SupervisorSettings) -> None:
    without = settings.model_copy(update={"vllm_python": Path("nowhere/python")})
    with pytest.raises(CannotUse, match=r"^nowhere/python does not exist; CONVICTION_VLLM_PYTHON names"):
        program(store, without)


def test_each_start_has_its_own_log(store: Store, settings: SupervisorSettings) -> None:
    log = program(store, settings).log
    assert log == settings.run_dir / "vllm.log"
    log.write_text("first run")
    assert program(store, settings).log == log
    assert log.with_name("vllm.log.1").read_text() == "first run"


@pytest.mark.parametrize("crashed", [True, False])
def test_compiled_code_is_deleted_after_a_crash(store: Store, settings: SupervisorSettings, crashed: bool) -> None:
    kernel = settings.run_dir / "vllm" / "torch_compile_cache" / "kernel.so"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(b"truncated")
    marker = program(store, settings).marker
    assert marker
    assert kernel.exists()
    if crashed:
        marker.touch()
    program(store, settings)
    assert kernel.exists() is not crashed

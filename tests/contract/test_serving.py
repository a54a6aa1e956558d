"""vLLM's options and environment by profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app.contract import serving
from app.contract.hardware import Profile

CPU = Profile("a machine", "cpu", "float32", "dequantized", compiled=True, threads=2, reason="a test")
MANY_CORES = replace(CPU, threads=serving.SINGLE_PROCESS_CORES + 1)
GPU = replace(CPU, device="gpu", dtype="float16", weights="awq")
WEIGHTS = Path("/weights/awq")


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of an interpreter in an environment; the system has no library to preload."""
    monkeypatch.setattr(serving, "SYSTEM_LIBRARIES", ("/usr/lib/nowhere-linux-gnu",))
    path = tmp_path / ".envs/vllm/bin/python"
    path.parent.mkdir(parents=True)
    return path


def command(profile: Profile, more: Mapping[str, str | None] | None = None) -> tuple[str, ...]:
    return serving.command(Path("/python"), WEIGHTS, "toy-1", 8001, profile, more)


def test_the_weights_are_served_under_their_id_on_loopback() -> None:
    words = command(CPU)
    assert words[:3] == ("/python", "-m", "vllm.entrypoints.openai.api_server")
    options = dict(pairwise(words))
    assert options["--model"] == str(WEIGHTS)
    assert options["--served-model-name"] == "toy-1"
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "8001"
    assert options["--dtype"] == "float32"
    assert json.loads(options["--structured-outputs-config"])["backend"] == "xgrammar"
    assert "--enable-prefix-caching" in words
    assert None not in words


@pytest.mark.parametrize(
    ("profile", "eager", "single"),
    [(CPU, False, True), (replace(CPU, compiled=False), True, True), (MANY_CORES, False, False), (GPU, False, False)],
    ids=["CPU", "eager", "many cores", "GPU"],
)
def test_the_profile_decides_compilation_and_processes(profile: Profile, eager: bool, single: bool) -> None:
    words = command(profile)
    assert ("--enforce-eager" in words) == eager
    assert (dict(pairwise(words)).get("--distributed-executor-backend") == "uni") == single
    environment = serving.environment(Path("/none/envs/vllm/bin/python"), profile, Path("/cache"), {})
    assert (environment.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0") == single
    assert environment.get("OMP_NUM_THREADS") == (str(profile.threads) if single else None)


def test_a_caller_s_option_replaces_the_same_option() -> None:
    words = command(CPU, {"--max-model-len": "4096", "--enable-lora": None})
    assert dict(pairwise(words))["--max-model-len"] == "4096"
    assert words.count("--max-model-len") == 1
    assert words[-1] == "--enable-lora"


def test_vllm_looks_nothing_up_and_keeps_compiled_code_in_the_cache(python: Path, tmp_path: Path) -> None:
    for profile in (CPU, GPU):
        environment = serving.environment(python, profile, tmp_path / "cache", {"PATH": "/bin", "HF_HUB_OFFLINE": "0"})
        assert environment["PATH"] == "/bin"
        assert environment["HF_HUB_OFFLINE"] == "1"
        assert environment["VLLM_CACHE_ROOT"] == str(tmp_path / "cache")
        assert environment["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path / "cache"))
        assert environment["PYTHONDONTWRITEBYTECODE"] == ""


def test_a_gpu_gets_no_variable_that_is_a_cpu_s(python: Path, tmp_path: Path) -> None:
    library(python.parents[1] / "lib/libiomp5.so")
    environment = serving.environment(python, GPU, tmp_path, {})
    assert not environment.keys() & {*serving.CPU_ENVIRONMENT, "LD_PRELOAD", "OMP_NUM_THREADS"}
    assert serving.environment(python, CPU, tmp_path, {}).keys() >= serving.CPU_ENVIRONMENT.keys()


def library(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_libraries_are_preloaded_from_the_environment_then_the_tools_then_the_system(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system"
    monkeypatch.setattr(serving, "SYSTEM_LIBRARIES", (str(system),))
    assert serving.preloaded(python) == []
    in_system = library(system / "libtcmalloc_minimal.so.4")
    assert serving.preloaded(python) == [in_system]
    in_tools = library(tmp_path / ".envs/tools" / str(system).lstrip("/") / "libtcmalloc.so.4")
    assert serving.preloaded(python) == [in_tools]
    openmp = library(python.parents[1] / "lib/libiomp5.so")
    assert serving.preloaded(python) == [in_tools, openmp]


def test_the_caller_s_preloaded_libraries_are_kept_first(python: Path, tmp_path: Path) -> None:
    inherited = {"LD_PRELOAD": "/own.so"}
    assert serving.environment(python, CPU, tmp_path, inherited)["LD_PRELOAD"] == "/own.so"
    openmp = library(python.parents[1] / "lib/libiomp5.so")
    assert serving.environment(python, CPU, tmp_path, inherited)["LD_PRELOAD"] == f"/own.so:{openmp}"
    assert serving.environment(python, CPU, tmp_path, {})["LD_PRELOAD"] == str(openmp)


def test_without_a_library_nothing_is_preloaded(python: Path, tmp_path: Path) -> None:
    assert "LD_PRELOAD" not in serving.environment(python, CPU, tmp_path, {})

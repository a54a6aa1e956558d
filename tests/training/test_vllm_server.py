"""What vLLM makes of a checkpoint is what transformers makes of it: log-probabilities, token by token."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers

from app.contract import hardware
from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE
from app.contract.machine import Machine
from app.contract.manifest import current, read
from app.contract.recommendation import canonical
from tests.training.machines import AVX2, AVX512, H200, profile_of
from training import vllm_server
from training.finetune.examples import Example, encode
from training.server import NotServed
from training.vllm_server import serve, with_adapter

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
VLLM = ROOT / ".envs" / "vllm" / "bin" / "python"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a compile cache of the test's own: servers that do not start mark it as unfinished."""
    cache = tmp_path / "cache" / "vllm"
    monkeypatch.setattr(vllm_server, "CACHE", cache)
    return cache


def example(detail: Any, tokenizer: Any) -> Example:
    answer = canonical(rules.answer(EXAMPLE, detail))
    row = {"ticker": "SNPS", "as_of": "2024-03-08", "detail": detail, "metrics": EXAMPLE.document(), "answer": answer}
    return encode(row, tokenizer, 1024)


@pytest.mark.slow
def test_vllm_and_transformers_agree_on_every_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    weights = ROOT / ".models" / read(current(ROOT / "model_store")).model_id / "merged"
    for needed in (VLLM, weights):
        if not needed.exists():
            pytest.skip(f"{needed} is not there: `make model .envs/vllm/.complete`")
    profile = hardware.profile()
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=getattr(torch, profile.dtype))
    with serve(VLLM, weights, "tested", tmp_path / "vllm.log", profile) as url:
        for detail in ("brief", "full"):
            pair = example(detail, tokenizer)
            ids = [*pair.prompt, *pair.answer]
            body = {"model": "tested", "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0, "temperature": 0}
            message = httpx.post(f"{url}/completions", json=body, timeout=120).raise_for_status().json()
            entries = message["choices"][0]["prompt_logprobs"][1:]
            theirs = torch.tensor([entry[str(i)]["logprob"] for entry, i in zip(entries, ids[1:], strict=True)])
            with torch.no_grad():
                ours = model(input_ids=torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
            ours = ours[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
            answer = slice(len(pair.prompt) - 1, None)
            difference = (ours - theirs)[answer].abs()
            assert difference.mean() < 0.02, detail
            assert difference.max() < 0.25, detail


@pytest.mark.parametrize(("machine", "compiled"), [(AVX512, False), (AVX2, False), (H200, True)])
def test_a_base_with_an_adapter_is_compiled_on_a_gpu_alone(machine: Machine, compiled: bool) -> None:
    profile = profile_of(machine)
    assert profile.compiled
    assert with_adapter(profile) == replace(profile, compiled=compiled)


def test_vllm_is_started_as_the_profile_has_it(tmp_path: Path) -> None:
    stub, log = tmp_path / "python", tmp_path / "vllm.log"
    stub.write_text('#!/bin/sh\necho "$*"\nexit 3\n')
    stub.chmod(0o755)
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    for adapter in (None, tmp_path):
        with pytest.raises(NotServed), serve(stub, tmp_path, "x", log, profile_of(AVX2), adapter):
            pass
        words = log.read_text().split()
        assert words[words.index("--dtype") + 1] == "float32"
        assert ("--enforce-eager" in words) is ("--enable-lora" in words) is (adapter is not None)


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho no such weights\nexit 3\n")
    stub.chmod(0o755)
    log = tmp_path / "vllm.log"
    message = f"ended with 3 while loading, see {log}"
    with pytest.raises(NotServed, match=message), serve(stub, tmp_path, "x", log, profile_of(AVX2)):
        pass
    assert log.read_text() == "no such weights\n"


def test_compiled_code_is_deleted_after_a_start_that_failed(tmp_path: Path, cache: Path) -> None:
    stub, kernel = tmp_path / "python", cache / "kernel.so"
    stub.write_text("#!/bin/sh\nexit 3\n")
    stub.chmod(0o755)
    kernel.parent.mkdir(parents=True)
    for remains in (True, False):
        kernel.write_bytes(b"truncated") if remains else None
        with pytest.raises(NotServed), serve(stub, tmp_path, "x", tmp_path / "vllm.log", profile_of(AVX2)):
            pass
        assert kernel.exists() is remains


PARENT = """
import sys
from pathlib import Path
from tests.training.machines import AVX2, profile_of
from training import vllm_server
folder = Path(sys.argv[1])
vllm_server.CACHE = folder / "cache" / "vllm"
with vllm_server.serve(folder / "python", folder, "x", folder / "vllm.log", profile_of(AVX2)):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_vllm_ends_with_the_process_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    stub, log = tmp_path / "python", tmp_path / "vllm.log"
    stub.write_text(f"#!{sys.executable}\nimport os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    stub.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT) as parent:
        until = time.monotonic() + 30
        while not (log.exists() and log.read_text().endswith("\n")):
            assert time.monotonic() < until and parent.poll() is None
            time.sleep(0.02)
        child = Path("/proc") / log.read_text().strip()
        assert running(child)
        parent.send_signal(number)
    while running(child):
        assert time.monotonic() < until, "vLLM outlived its parent"
        time.sleep(0.02)


def running(process: Path) -> bool:
    """Whether the process of this folder in /proc exists and is no zombie."""
    try:
        return "State:\tZ" not in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False

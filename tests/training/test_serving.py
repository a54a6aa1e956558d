"""What vLLM makes of a checkpoint is what transformers makes of it: log-probabilities, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers

from app import rules
from app.contract.fingerprint import EXAMPLE
from app.contract.manifest import current, read
from app.contract.recommendation import canonical
from training.serving import NotServed, serve
from training.tuning.examples import Example, encode

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
VLLM = ROOT / ".envs" / "vllm" / "bin" / "python"


def example(detail: Any, tokenizer: Any) -> Example:
    answer = canonical(rules.answer(EXAMPLE, detail))
    row = {"ticker": "SNPS", "as_of": "2024-03-08", "detail": detail, "metrics": EXAMPLE.document(), "answer": answer}
    return encode(row, tokenizer, 1024)


@pytest.mark.slow
def test_vllm_and_transformers_agree_on_every_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    weights = ROOT / ".models" / read(current(ROOT / "model_store")).model_id / "bf16"
    for needed in (VLLM, weights):
        if not needed.exists():
            pytest.skip(f"{needed} is not there: `make model .envs/vllm/.complete`")
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.bfloat16)
    with serve(VLLM, weights, "tested", tmp_path / "vllm.log") as url:
        for detail in ("brief", "full"):
            asked = example(detail, tokenizer)
            ids = [*asked.prompt, *asked.answer]
            body = {"model": "tested", "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0, "temperature": 0}
            told = httpx.post(f"{url}/completions", json=body, timeout=120).raise_for_status().json()
            entries = told["choices"][0]["prompt_logprobs"][1:]
            theirs = torch.tensor([entry[str(i)]["logprob"] for entry, i in zip(entries, ids[1:], strict=True)])
            with torch.no_grad():
                ours = model(input_ids=torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
            ours = ours[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
            answer = slice(len(asked.prompt) - 1, None)
            difference = (ours - theirs)[answer].abs()
            assert difference.mean() < 0.02, detail
            assert difference.max() < 0.25, detail


def test_a_server_that_does_not_come_up_is_told_with_its_log(tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho no such weights\nexit 3\n")
    stub.chmod(0o755)
    log = tmp_path / "vllm.log"
    with pytest.raises(NotServed, match=f"ended with 3 while loading, see {log}"), serve(stub, tmp_path, "x", log):
        pass
    assert log.read_text() == "no such weights\n"

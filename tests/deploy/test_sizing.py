"""The inputs of sizing: the contract's tokens, the model's bytes, and Valkey's memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import ANSWER, TASK, Detail, messages
from app.contract.recommendation import canonical
from app.settings.gateway import Settings
from deploy.sizing.floor import Load, Request, figures
from deploy.sizing.store import KINDS, measure

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "size-a-deployment.md"
REFERENCE = ROOT / "docs" / "reference" / "sizing.md"
BLOCK = 16
"""Tokens that vLLM keeps together in its prefix cache."""
KNOWN = figures()


@pytest.fixture(scope="module")
def mistral() -> MistralTokenizer:
    return MistralTokenizer.v3()


@pytest.mark.parametrize("detail", ANSWER)
def test_requests_are_as_long_as_the_contract_makes_them(mistral: MistralTokenizer, detail: Detail) -> None:
    plain = mistral.instruct_tokenizer.tokenizer
    [message] = messages(EXAMPLE, "SNPS", detail)
    asked = ChatCompletionRequest(messages=[UserMessage(content=message["content"])])
    shared = len(plain.encode(TASK + ANSWER[detail], bos=True, eos=False))
    counted = Request(
        prompt=len(mistral.encode_chat_completion(asked).tokens),
        shared=shared // BLOCK * BLOCK,
        answer=len(plain.encode(canonical(rules.answer(EXAMPLE, detail)), bos=False, eos=True)),
    )
    assert getattr(KNOWN.requests, detail) == counted


def test_the_model_is_as_large_as_it_is_published() -> None:
    """TheBloke/Mistral-7B-Instruct-v0.2-AWQ has a file of 4.15 GB, its vocabulary 768 words smaller."""
    assert KNOWN.model.bytes == pytest.approx(4.15e9, rel=0.01)
    assert KNOWN.model.bytes_a_token == pytest.approx(3.89e9, rel=0.01)
    assert KNOWN.model.flops_a_token == pytest.approx(2 * 7.11e9, rel=0.01)
    assert KNOWN.model.kv_bytes_a_token == 128 * 1024


def test_concurrency_is_the_gateway_s() -> None:
    assert KNOWN.server.concurrency == Settings.model_fields["mistral_max_concurrency"].default


def test_no_published_rate_exceeds_its_ceiling() -> None:
    assert all(0 < KNOWN.share(each) < 1 for each in KNOWN.published)
    assert all(0 < KNOWN.to_plan_with(name) < 1 for name in KNOWN.gpus)


def test_throughput_grows_with_concurrency_until_compute_bound() -> None:
    gpu = KNOWN.gpus["L4"]
    alone, some, many = (KNOWN.seconds(gpu, Load(prompt=0, answer=100, concurrency=number)) for number in (1, 8, 64))
    assert alone > some > many > 100 * KNOWN.model.flops_a_token / gpu.flops
    assert alone == pytest.approx(100 * KNOWN.ms_a_token(gpu) / 1000, rel=0.01)


@pytest.mark.slow
async def test_valkey_s_memory_matches_the_guide() -> None:
    """Measured by keys and log: total memory varies by more than a hundred requests use."""
    left = {each.name: each async for each in measure(100)}
    assert set(left) == {kind.name for kind in KINDS}
    for name, each in left.items():
        used, logged = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", row(name))[:2])
        of_keys = sum(size * number / 100 for size, number in each.by_key.values() if number >= 100)
        assert logged == pytest.approx(each.logged, rel=0.25), each
        assert of_keys < used < 1.6 * of_keys, each
    for name, what, bytes_of_it in (
        ("brief", "reservation", 322),
        ("brief", "answer", 539),
        ("full", "answer", 1042),
        ("brief, with an Idempotency-Key", "idempotency", 2111),
        ("full, with an Idempotency-Key", "idempotency", 2603),
    ):
        assert bytes_of_it == pytest.approx(left[name].by_key[f"conviction:{what}"][0], rel=0.25)
        assert f"{bytes_of_it:,}" in row(name)


def row(name: str) -> str:
    """Return the rows of the guide's table."""
    [found] = re.findall(rf"^\| {re.escape(name)} \| .*$", GUIDE.read_text(), re.MULTILINE)
    return str(found)

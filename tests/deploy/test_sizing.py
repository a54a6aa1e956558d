"""The inputs of sizing: the contract's tokens, the model's bytes, and Valkey's memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from pydantic import ValidationError

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import ANSWER, TASK, Detail, messages
from app.contract.recommendation import canonical
from app.settings.gateway import Settings
from deploy.sizing.__main__ import UNPUBLISHED
from deploy.sizing.floor import FIGURES, Load, Request, figures
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


def test_a_card_is_planned_where_reading_and_writing_were_measured_on_it() -> None:
    published = KNOWN.published
    read = {each.gpu for each in published if each.what.prompt}
    wrote = {each.gpu for each in published if each.what.answer}
    planned = {name for name in KNOWN.gpus if KNOWN.to_plan_with(name) is not None}
    assert planned == read & wrote != read | wrote
    rows = [
        line.strip("| ").split(" | ") for line in REFERENCE.read_text().split("Published measurements")[0].splitlines()
    ]
    assert {row[0] for row in rows if row[0] in KNOWN.gpus and UNPUBLISHED not in row} == planned


@pytest.mark.parametrize("table", ["gpus", "published"])
def test_a_row_without_an_address_is_refused(table: str, tmp_path: Path) -> None:
    first, start, rest = FIGURES.read_text().partition("[gpus.T4]" if table == "gpus" else "[[published]]")
    path = tmp_path / "figures.toml"
    path.write_text(first + start + re.sub(r'source = ".*?"', 'source = "noted in 2026"', rest, count=1))
    with pytest.raises(ValidationError, match=table):
        figures(path)


def test_the_guide_names_the_requests_of_the_contract() -> None:
    [sentence] = re.findall(r"prompts of\s+(.*?) in full", GUIDE.read_text(), re.DOTALL)
    named = [int(number) for number in re.findall(r"\d+", sentence)]
    brief, full = KNOWN.requests.brief, KNOWN.requests.full
    assert named == [*(brief.prompt, brief.shared, brief.answer), *(full.prompt, full.shared, full.answer)]


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

"""Each family's targets are tokens that its server can generate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from app.contract.fingerprint import EXAMPLE, SPARSE
from app.contract.prompt import Detail, messages
from app.contract.recommendation import answer_schema, canonical
from app.contract.serving import OPTIONS
from tests.training.conftest import BASE
from tests.training.families import FAMILIES, ROOT, family_tokenizer
from training.finetune.examples import Example, encode
from training.finetune.supervision import label_tokens
from training.finetune.tokens import continuation, padding
from training.labeling.soft_labels import soft_label

pytestmark = pytest.mark.filterwarnings("default")

DETAILS: tuple[Detail, ...] = ("brief", "full")
VLLM = ROOT / ".envs" / "vllm" / "bin" / "python"
AS_SERVED = """
import json, sys
import transformers, xgrammar
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

given = json.load(sys.stdin)
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
known = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
compiler, out = xgrammar.GrammarCompiler(known), []
for one in given:
    grammar = compiler.compile_json_schema(json.dumps(one["schema"]), any_whitespace=False, separators=(",", ":"))
    matcher = xgrammar.GrammarMatcher(grammar)
    accepted = [matcher.accept_token(token) for token in one["answer"]]
    asked = ChatCompletionRequest(messages=[UserMessage(content=one["content"])])
    prompt = MistralTokenizer.v3().encode_chat_completion(asked).tokens
    out.append({"accepted": all(accepted), "ended": matcher.is_terminated(), "prompt": prompt})
print(json.dumps(out))
"""
"""What vLLM's grammar, compiled with its options, accepts, and how Mistral's own library encodes a prompt."""


def pair(tokenizer: Any, detail: Any, metrics: Metrics = EXAMPLE) -> tuple[Example, str]:
    answer = canonical(rules.answer(metrics, detail))
    row = {"ticker": "SNPS", "as_of": "2024-03-08", "detail": detail, "metrics": metrics.document(), "answer": answer}
    return encode({**row, "soft": soft_label(metrics)}, tokenizer, 1024), answer


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("detail", DETAILS)
def test_an_answer_begins_with_its_brace_and_ends_the_turn(family: str, detail: str) -> None:
    tokenizer = family_tokenizer(family)
    example, answer = pair(tokenizer, detail)
    words = tokenizer.convert_ids_to_tokens(example.answer)
    assert "".join(words) == answer.replace(" ", "▁") + "</s>"
    assert words[0].startswith("{")
    assert words[example.action] in answer
    assert tokenizer.bos_token_id not in example.prompt[1:]
    assert example.prompt[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("family", FAMILIES)
def test_spans_are_those_of_the_answer(family: str) -> None:
    tokenizer, answer = family_tokenizer(family), canonical(rules.answer(EXAMPLE, "full"))
    ids, spans = continuation(tokenizer, answer)
    assert [answer[start:end] for start, end in spans] == [
        word.replace("▁", " ") for word in tokenizer.convert_ids_to_tokens(ids)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_actions_differ_in_their_first_token_and_steps_end_lines(family: str) -> None:
    tokenizer = family_tokenizer(family)
    assert len(set(label_tokens(tokenizer, "buy", "sell", "hold"))) == 3
    for detail, metrics in (("brief", EXAMPLE), ("full", SPARSE)):
        example, _ = pair(tokenizer, detail, metrics)
        for target in example.soft:
            assert (
                max(target.probabilities, key=lambda token: target.probabilities[token]) == example.answer[target.index]
            )
        ids = [*example.prompt, *example.answer]
        ends = [tokenizer.decode(ids[s.position + 1 : s.position + 2]) for s in example.steps if s.vote is not None]
        assert set(ends[:-1]) <= {"\n"}


def test_the_default_model_s_answers_have_the_tokens_that_they_have_alone() -> None:
    transformers = pytest.importorskip("transformers")
    if not BASE.exists():
        pytest.skip(f"{BASE} is not there: `make model` prepares the base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    for metrics in (EXAMPLE, SPARSE):
        for detail in DETAILS:
            answer = canonical(rules.answer(metrics, detail))
            alone = tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
            ids, spans = continuation(tokenizer, answer)
            assert ids == alone["input_ids"]
            assert spans == [tuple(span) for span in alone["offset_mapping"]]


def test_a_tokenizer_that_joins_an_answer_with_its_prompt_is_refused() -> None:
    def joining(text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": [1, 2], "offset_mapping": [(0, 2), (2, len(text))]}

    with pytest.raises(ValueError, match="the tokenizer joins"):
        continuation(joining, '{"action"')


def test_rows_are_filled_with_the_end_of_turn_where_a_tokenizer_has_no_padding() -> None:
    tokenizer = family_tokenizer("mistral")
    assert tokenizer.pad_token_id is None
    assert padding(tokenizer) == tokenizer.eos_token_id == 2


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_serving_grammar_accepts_every_target_and_the_prompt_is_mistral_s(family: str, tmp_path: Path) -> None:
    if not VLLM.exists():
        pytest.skip(f"{VLLM} is not there: `make .envs/vllm/.complete`")
    assert json.loads(str(OPTIONS["--structured-outputs-config"]))["disable_any_whitespace"]
    tokenizer, given = family_tokenizer(family), []
    tokenizer.save_pretrained(tmp_path)
    for detail in DETAILS:
        example, _ = pair(tokenizer, detail)
        [message] = messages(EXAMPLE, "SNPS", detail)
        schema = answer_schema(detail)
        given.append(
            {"schema": schema, "content": message["content"], "answer": example.answer, "prompt": example.prompt}
        )
    done = subprocess.run(
        [str(VLLM), "-c", AS_SERVED, str(tmp_path)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for one, served in zip(given, json.loads(done.stdout), strict=True):
        assert served["accepted"] and served["ended"]
        assert family != "mistral" or served["prompt"] == one["prompt"]

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import answer_schema
from training.artifacts import write_rows
from training.labeling.prompts import MAX_LISTED, Prompt, Question, UnusableRows, prompt_of, questions, read

from .conftest import row


def test_the_hash_is_of_what_is_asked() -> None:
    prompt = prompt_of(row("SNPS", "brief"))
    sampled = {"messages": messages(EXAMPLE, "SNPS", "brief"), "schema": answer_schema("brief", bounded=False)}
    text = json.dumps(sampled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert prompt.hash == hashlib.sha256(text.encode()).hexdigest()
    assert len({prompt_of(row(*given)).hash for given in (("A", "brief"), ("B", "brief"), ("A", "full"))}) == 3


def test_a_prompt_of_several_rows_is_asked_once() -> None:
    prompts = [Prompt(ticker, EXAMPLE, "brief") for ticker in "ABAB"]
    assert [one.key for one in questions(prompts)] == [Question(prompt).key for prompt in prompts[:2]]


def test_the_sample_stays_the_same_whatever_else_is_asked() -> None:
    prompts = [Prompt(f"T{number}", EXAMPLE, "brief") for number in range(40)]
    few, many = questions(prompts, 3, 5), questions(prompts[::-1], 3, 5)
    again = [one for one in few if one.repeat]
    assert len(few) == 50
    assert [one.repeat for one in again] == [1] * 5 + [2] * 5
    assert {one.key for one in again} == {one.key for one in many if one.repeat}
    assert len({one.key for one in few}) == 50


def test_every_wrong_field_is_all_reported(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    good = row("A", "brief")
    write_rows(path, [good, {**good, "detail": "long"}, {**good, "metrics": {**good["metrics"], "price": -1}}])
    path.write_text(path.read_text() + '{"ticker": \n')
    with pytest.raises(UnusableRows) as caught:
        read(path)
    message = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in message] == [f"{path}:{number}" for number in (2, 3, 4)]
    assert "detail" in message[0]
    assert "price" in message[1]


def test_wrong_rows_beyond_a_few_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_rows(path, [{**row("A", "brief"), "as_of": "soon"}] * (MAX_LISTED + 3))
    with pytest.raises(UnusableRows, match="and 3 more"):
        read(path)

from __future__ import annotations

from pathlib import Path

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE, SPARSE
from tests.training.evaluation.examined import examined
from training.evaluation import rows
from training.evaluation.clients import Prediction
from training.evaluation.pairs import Pair

ROWS = [examined("buy", "sell", probabilities=(0.2, 0.5, 0.3)), examined("hold", None)]


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    rows.write(tmp_path / "a.rows.jsonl", ROWS)
    assert rows.read(tmp_path / "a.rows.jsonl") == ROWS


def test_a_malformed_row_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "a.rows.jsonl"
    path.write_text(f"{ROWS[0].model_dump_json()}\n{ROWS[0].model_dump_json().replace('sell', 'sold', 1)}\n")
    with pytest.raises(ValueError, match=r"a\.rows\.jsonl, line 2: predicted: "):
        rows.read(path)


def test_what_a_killed_evaluation_was_writing_is_not_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.unfinished"
    path.write_text(f"{ROWS[0].model_dump_json()}\n{ROWS[1].model_dump_json()[:40]}")
    assert rows.read_unfinished(path) == ROWS[:1]


def test_a_pair_and_its_row_have_one_key() -> None:
    pairs = [Pair(t, m, rules.answer(m, "brief")) for t, m in (("SNPS", EXAMPLE), ("TINY", SPARSE))]
    made = [
        rows.row(pair, Prediction(action="buy", conviction=3), rows.Source("a-model", "brief"), 0.0) for pair in pairs
    ]
    assert [row.key for row in made] == [rows.key_of(pair) for pair in pairs]
    assert made[0].key != made[1].key
    assert [row.missing for row in made] == [0, 30]

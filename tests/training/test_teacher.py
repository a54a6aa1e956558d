from __future__ import annotations

from pathlib import Path

import pytest

from app import rules
from app.contract.fingerprint import fingerprint
from app.contract.recommendation import canonical, parse
from training.artifacts import Artifacts, read_rows
from training.config import Config
from training.dataset import SPLITS, build
from training.teacher import label, metrics_of


def test_labels_are_canonical_and_say_whose_they_are(
    config: Config, artifacts: Artifacts, synthetic_market: Path
) -> None:
    build(config, artifacts, synthetic_market)
    label(config, artifacts)
    for name in SPLITS:
        for row in read_rows(artifacts.folder / "label" / f"{name}.jsonl"):
            answer = parse(row["detail"], row["answer"])
            assert canonical(answer) == row["answer"]
            assert answer == rules.answer(metrics_of(row), row["detail"])
            assert (row["action"], row["teacher"]) == (answer.action, rules.MODEL_ID)
    manifest = artifacts.manifest("label")
    assert manifest["fingerprint"] == fingerprint()
    assert sum(manifest["balance"]["train"].values()) == pytest.approx(1, abs=0.001)


def test_labels_need_a_whole_data_set(config: Config, artifacts: Artifacts) -> None:
    with pytest.raises(FileNotFoundError, match="stage dataset"):
        label(config, artifacts)

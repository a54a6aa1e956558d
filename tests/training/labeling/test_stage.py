from __future__ import annotations

from pathlib import Path

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import fingerprint
from app.contract.recommendation import canonical, parse
from training.artifacts import Artifacts, read_rows
from training.config.dataset import SPLITS
from training.config.run import Config, ConfigError, load
from training.dataset.stage import build
from training.labeling.prompts import metrics_of
from training.labeling.stage import label


def test_labels_are_canonical_and_name_their_teacher(
    config: Config, artifacts: Artifacts, synthetic_market: Path
) -> None:
    build(config, artifacts, synthetic_market)
    label(config, artifacts, repeat=3)
    rows = [row for name in SPLITS for row in read_rows(artifacts.folder / "label" / f"{name}.jsonl")]
    for row in rows:
        answer = parse(row["detail"], row["answer"])
        assert canonical(answer) == row["answer"]
        assert answer == rules.answer(metrics_of(row), row["detail"])
        assert (row["action"], row["teacher"], row["nano_usd"]) == (answer.action, rules.MODEL_ID, 0)
    manifest = artifacts.manifest("label")
    assert (manifest["teacher"], manifest["model"]) == ("rules", rules.MODEL_ID)
    assert manifest["fingerprint"] == fingerprint()
    assert sum(manifest["balance"]["train"].values()) == pytest.approx(1, abs=0.001)
    assert manifest["self_agreement"]["action_agreement"] == 1
    assert "by_construction" in manifest["self_agreement"]


def test_labels_need_a_whole_data_set(config: Config, artifacts: Artifacts) -> None:
    with pytest.raises(FileNotFoundError, match="stage dataset"):
        label(config, artifacts)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('name = "openai"', "teacher.model: .*required.*\n.*teacher.max_usd: .*required"),
        ('name = "openai-batch"\nmodel = "gpt-99"\nmax_usd = 1', "teacher.model: .*no list price"),
        ('name = "openai"\nmodel = "gpt-4.1"\nmax_usd = 0', "teacher.max_usd"),
        ('name = "rules"\nmax_usd = 1', "teacher.max_usd: .*not applicable: the rules"),
        ('name = "openai"\nmodel = "gpt-4.1"\nmax_usd = 1\nbatch_requests = 50001', "teacher.batch_requests"),
    ],
)
def test_a_wrong_teacher_is_all_reported(config_file: Path, section: str, message: str) -> None:
    config_file.write_text(config_file.read_text().replace('[teacher]\nname = "rules"', f"[teacher]\n{section}"))
    with pytest.raises(ConfigError, match=message):
        load(config_file)

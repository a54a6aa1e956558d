from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.contract.manifest import UnusableModel
from tests.training.versions import published
from training.config.run import Config
from training.dataset.lineage import lineage, overlaps, split_rule


def continuing(config: Config, version: Path) -> Config:
    finetune = config.finetune.model_copy(update={"continue_from": version})
    return config.model_copy(update={"finetune": finetune})


@pytest.fixture
def own(config: Config) -> dict[str, Any]:
    return config.dataset.model_dump()


def test_a_run_from_the_base_has_its_own_rule_alone(config: Config) -> None:
    assert lineage(config) == [split_rule(config.dataset)]
    assert lineage(config)[0]["shares"] == {"train": 0.4, "validation": 0.3, "test": 0.3}
    assert lineage(config)[0]["dates"]["train"] == ["2024-01-02", "2024-02-09"]
    assert list(overlaps(config)) == []


def test_a_version_split_alike_and_trained_on_earlier_days_is_continued(
    config: Config, own: dict[str, Any], tmp_path: Path
) -> None:
    earlier = {**own, "train": {**own["train"], "first": date(2023, 1, 2), "brief": 9}}
    again = continuing(config, published(tmp_path / "first", own, earlier))
    assert list(overlaps(again)) == []
    assert [rule["dates"]["train"][0] for rule in lineage(again)] == ["2024-01-02", "2024-01-02", "2023-01-02"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "drawn with seed 4, and the data set has 3"),
        ({"universe": "prominent"}, "drawn with universe prominent, and the data set has market"),
    ],
)
def test_an_ancestor_drawn_otherwise_is_named(
    config: Config, own: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (problem,) = overlaps(continuing(config, published(tmp_path / "second", own, {**own, **change})))
    assert message in problem


def test_every_overlap_of_an_ancestor_is_named(config: Config, own: dict[str, Any], tmp_path: Path) -> None:
    later = {
        "train": {**own["train"], "tickers": 0.5, "last": date(2024, 2, 12)},
        "validation": {**own["validation"], "tickers": 0.2, "first": date(2024, 2, 13)},
        "test": {**own["test"], "first": date(2024, 2, 13)},
    }
    problems = list(overlaps(continuing(config, published(tmp_path / "second", own, {**own, **later}))))
    assert [word in problem for word, problem in zip(("shares", "validation", "test"), problems, strict=True)]
    assert f"test.first, 2024-02-12, is not after 2024-02-12, up to which {tmp_path}/second was trained" in problems[2]


def test_a_version_that_states_no_split_is_refused(config: Config, tmp_path: Path) -> None:
    again = continuing(config, published(tmp_path / "old"))
    assert list(overlaps(again)) == [
        f"finetune.continue_from: {tmp_path}/old does not state how the pairs that it was trained on were split"
    ]
    with pytest.raises(UnusableModel, match="does not state"):
        lineage(again)


def test_a_version_that_cannot_be_read_is_refused(config: Config, tmp_path: Path) -> None:
    (problem,) = overlaps(continuing(config, tmp_path / "nowhere"))
    assert "nowhere/manifest.json cannot be read" in problem

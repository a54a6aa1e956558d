from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.manifest import Golden, UnusableModel, current, read
from training.artifacts import Artifacts, write_json
from training.config import Config
from training.publish import Refused, publish

GOLDEN = [Golden(ticker="SNPS", metrics=EXAMPLE.document(), action="buy")]
REPORT = {
    "agreement": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 10, "tickers": 5},
    "majority_baseline": {"action": "hold", "value": 0.4},
    "failures": {},
    "machine": "x86_64, 2 cores",
    "speed": {"tokens_per_hour": 360_000, "concurrency": 8},
}


@pytest.fixture
def finished(artifacts: Artifacts) -> Artifacts:
    adapter = artifacts.stage("finetune") / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "adapter_config.json").write_text("{}")
    base = {"weights": {"model.safetensors": "a" * 64}}
    tuned: dict[str, Any] = {"base": base, "pairs": 3, "tokens": 9, "seconds": 1}
    artifacts.complete("finetune", tuned)
    artifacts.complete("dataset", {"train": {"tickers": 2}, "test": {"tickers": 1}})
    artifacts.complete("label", {"model": "rule-based-analyst-1", "fingerprint": fingerprint(), "balance": {}})
    write_json(artifacts.stage("evaluate") / "full-awq.json", REPORT)
    return artifacts


def test_what_is_published_reads_back(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    store = tmp_path / "store"
    folder = publish(config, finished, store, "1", GOLDEN, Decimal("0.1"))
    assert current(store) == folder.resolve()
    manifest = read(folder)
    assert manifest.model_id == f"toy-1-{fingerprint()}"
    assert manifest.evaluation["full-awq"].value == 0.8
    assert manifest.capacity is not None
    assert manifest.capacity.tokens_per_hour == 360_000
    card = (folder / "README.md").read_text()
    assert "Teacher: rule-based-analyst-1" in card
    assert "GPT-4 answer was used" in card
    assert [path.name for path in (store / "toy").iterdir()] == ["1"]


def test_what_learned_nothing_is_refused(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    report = {**REPORT, "majority_baseline": {"action": "hold", "value": 0.75}}
    write_json(finished.stage("evaluate") / "brief-awq.json", report)
    with pytest.raises(Refused, match="brief-awq: no better than always saying hold"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    assert not (tmp_path / "store" / "current").exists()


def test_a_version_is_never_changed(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    with pytest.raises(Refused, match="exists"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))


def test_labels_of_another_contract_are_refused(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    finished.complete("label", {**finished.manifest("label"), "fingerprint": "0" * 12})
    with pytest.raises(Refused, match="labels are of contract 000000000000"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    assert not (tmp_path / "store" / "current").exists()


def test_weights_that_do_not_match_their_hash_are_refused(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    folder = publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"poisoned")
    with pytest.raises(UnusableModel, match=r"adapter_model\.safetensors is not what was published"):
        read(folder)

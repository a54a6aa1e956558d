from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.fingerprint import EXAMPLE, fingerprint
from app.contract.manifest import Golden, UnusableModel, current, read
from tests.training.evaluation.examined import examined
from training.artifacts import Artifacts, write_json
from training.cli.main import main
from training.config.run import Config
from training.dataset.lineage import split_rule
from training.evaluation import rows
from training.publish.stage import Refused, publish

GOLDEN = [Golden(ticker="SNPS", metrics=EXAMPLE.document(), action="buy")]
REPORT = {
    "teacher": "rule-based-analyst-1",
    "agreement": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 10, "tickers": 5, "wilson": [0.6, 0.98]},
    "majority_baseline": {"action": "hold", "value": 0.4},
    "failures": {},
    "conviction": {"n": 10, "mean_absolute_error": 0.5, "within_one": 0.9, "spearman": 0.8, "quadratic_kappa": 0.8},
    "calibration": {"probabilities": {"n": 10, "ece": 0.02}},
    "machine": "x86_64, 2 cores",
    "speed": {
        **{"tokens_per_hour": 360_000, "concurrency": 8, "seconds": 20.0},
        **{"prompt_tokens": 1500, "completion_tokens": 500},
    },
}


@pytest.fixture
def finished(artifacts: Artifacts) -> Artifacts:
    adapter = artifacts.stage("finetune") / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (adapter / "adapter_config.json").write_text("{}")
    tuned: dict[str, Any] = {
        "base": {"weights": {"model.safetensors": "a" * 64}}, "pairs": 3, "tokens": 9, "seconds": 1,
        "history": [{"eval_loss": 0.25, "eval_agreement": 0.5, "step": 2}],
    }  # fmt: skip
    artifacts.complete("finetune", tuned)
    artifacts.complete("dataset", {"train": {"tickers": 2}, "test": {"tickers": 1}})
    labels = {"teacher": "rules", "model": "rule-based-analyst-1", "fingerprint": fingerprint(), "balance": {}}
    artifacts.complete("label", labels)
    for name in ("brief-awq", "brief-adapter", "full-awq", "full-adapter"):
        write_json(artifacts.stage("evaluate") / f"{name}.json", REPORT)
        rows.write(artifacts.stage("evaluate") / f"{name}.rows.jsonl", [examined("buy", "buy")] * 10)
    (artifacts.stage("evaluate") / "curve.json").write_text("[]")
    return artifacts


def reported(artifacts: Artifacts, name: str, **changes: Any) -> None:
    write_json(artifacts.stage("evaluate") / f"{name}.json", {**REPORT, **changes})


def relabelled(artifacts: Artifacts, model: str, **changes: Any) -> None:
    artifacts.complete("label", {**artifacts.manifest("label"), "model": model, **changes})
    for name in ("brief-awq", "brief-adapter", "full-awq", "full-adapter"):
        reported(artifacts, name, teacher=model)


def test_what_is_published_reads_back(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    store = tmp_path / "store"
    folder = publish(config, finished, store, "1", GOLDEN, Decimal("0.1"))
    assert current(store) == folder.resolve()
    manifest = read(folder)
    assert manifest.model_id == f"toy-1-{fingerprint()}"
    assert manifest.evaluation["full-awq"].value == 0.9
    assert manifest.capacity is not None
    assert manifest.capacity.tokens_per_hour == 360_000
    assert len(manifest.gate) == 14
    assert manifest.calibration is None
    assert manifest.data["splits"] == [split_rule(config.dataset)]
    card = (folder / "README.md").read_text()
    assert "Teacher: rule-based-analyst-1" in card
    assert "No GPT-4 answer was used" in card
    assert "Validation loss after step 2: 0.2500, agreement 0.500." in card
    assert "| full-awq | 0.500 | 0.900 | 0.800 | 0.800 | 0.020 |" in card
    assert "Probabilities are the model's own, without calibration." in card
    assert "| max_failures.full | held | 0 of 10 answers failed" in card
    assert "0.000278 USD per 1,000 tokens" in card
    assert [path.name for path in (store / "toy").iterdir()] == ["1"]


def test_all_failed_checks_are_reported_and_nothing_is_written(
    config: Config, finished: Artifacts, tmp_path: Path
) -> None:
    reported(finished, "brief-awq", majority_baseline={"action": "hold", "value": 0.85})
    (finished.stage("evaluate") / "full-awq.json").unlink()
    with pytest.raises(Refused) as caught:
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    for message in (
        "above_majority.brief: low end 0.8500, always saying hold 0.8500",
        "there is no evaluation full-awq",
    ):
        assert message in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_an_override_is_kept_in_manifest_and_card(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    low = {**REPORT["agreement"], "value": 0.73}  # type: ignore[dict-item]
    for name in ("full-awq", "full-adapter"):
        reported(finished, name, agreement=low)
    folder = publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1), ["min_agreement.full"])
    assert [check.name for check in read(folder).gate if not check.held] == ["min_agreement.full"]
    assert (
        "| min_agreement.full | **failed, overridden** | 0.7300 (95% by ticker 0.8500 to 0.9500), at least 0.85"
        in (folder / "README.md").read_text()
    )


def test_a_model_teacher_is_named_with_what_it_cost(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    relabelled(finished, "gpt-4.1-2025-04-14", teacher="openai", cost={"nano_usd": 1_234_000_000})
    tuned = {"devices": 2, "usd_per_hour": "1.89", "cost_usd": "1.53", "continued_from": "toy/1"}
    finished.complete("finetune", {**finished.manifest("finetune"), **tuned})
    folder = publish(config, finished, tmp_path / "store", "2", GOLDEN, Decimal(1))
    card = (folder / "README.md").read_text()
    assert "**Teacher: gpt-4.1-2025-04-14**, queried through OpenAI's API." in card
    assert "rule-based" not in card
    for message in (
        "labels: 1.23 USD",
        "training: 1.53 USD, 1.89 USD an hour a device",
        "on 2 device(s)",
        "from toy/1",
    ):
        assert message in card


def test_the_run_s_calibration_is_published(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    fitted = {"temperature": 1.5, "bias": {"buy": 0.1, "sell": 0.2, "hold": -0.3}}
    finished.complete("calibrate", {"brief": {"calibration": fitted}})
    for name in ("brief-awq", "full-awq"):
        reported(finished, name, calibrated=fitted if name == "brief-awq" else None)
    folder = publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    manifest = read(folder)
    assert manifest.calibration is not None
    assert {detail: found.model_dump() for detail, found in manifest.calibration.items()} == {"brief": fitted}
    card = (folder / "README.md").read_text()
    assert "- brief: temperature 1.500, buy +0.100, sell +0.200, hold -0.300" in card
    assert "| max_ece.brief | held | 0.0200 over 10 answers, calibrated, at most 0.05 wanted |" in card


def test_a_version_is_never_changed(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    with pytest.raises(Refused, match="exists"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))


def test_what_a_killed_publication_left_is_harmless(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    left = tmp_path / "store" / "toy" / ".part-1"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    folder = publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    assert not left.exists()
    assert not (folder / "half").exists()


def test_a_failed_write_leaves_the_version_before_current(
    config: Config, finished: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    first = publish(config, finished, store, "1", GOLDEN, Decimal(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.publish.stage.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        publish(config, finished, store, "2", GOLDEN, Decimal(1))
    assert current(store) == first.resolve()
    assert read(first)
    assert not (store / "toy" / "2").exists()


def test_every_file_is_on_the_disk_before_the_version_is_there(
    config: Config, finished: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced = tmp_path / "store", []
    appeared = (store / "toy" / "1").exists
    monkeypatch.setattr("training.publish.stage._sync", lambda path: synced.append((path.name, appeared())))
    publish(config, finished, store, "1", GOLDEN, Decimal(1))
    files = ("README.md", "manifest.json", "adapter_config.json", "adapter_model.safetensors")
    assert {(name, False) for name in files} <= set(synced)
    assert (".current", True) in synced


def test_labels_of_another_contract_are_refused(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    finished.complete("label", {**finished.manifest("label"), "fingerprint": "0" * 12})
    with pytest.raises(Refused, match="labels have contract 000000000000"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    assert not (tmp_path / "store" / "current").exists()


def test_a_file_too_big_for_git_is_refused(
    config: Config, finished: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.publish.stage.SIZE_LIMIT", 6)
    with pytest.raises(Refused, match="bytes, 6 allowed"):
        publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    assert not (tmp_path / "store").exists()


def test_weights_that_do_not_match_their_hash_are_refused(config: Config, finished: Artifacts, tmp_path: Path) -> None:
    folder = publish(config, finished, tmp_path / "store", "1", GOLDEN, Decimal(1))
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"poisoned")
    with pytest.raises(UnusableModel, match=r"adapter_model\.safetensors is not what was published"):
        read(folder)


@pytest.mark.parametrize("environment", [{}, {"HF_TOKEN": " "}])
def test_a_push_without_a_token_is_refused_before_any_work(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        main(["publish", "--version", "1", "--url", "http://x", "--usd-per-hour", "1", "--push-to", "org/repo"])
    assert caught.value.code == 2
    assert "HF_TOKEN is not set" in capsys.readouterr().err

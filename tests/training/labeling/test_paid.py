"""The stage with a teacher that is paid for, asked over HTTP."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.contract import rule_based_analyst as rules
from app.contract.recommendation import canonical
from tests.conftest import StandIn
from training.artifacts import Artifacts
from training.cli.main import main
from training.config.dataset import SPLITS
from training.config.run import Config
from training.labeling.cap import CapReached
from training.labeling.connection import TeacherFailed
from training.labeling.prompts import UnusableRows, metrics_of
from training.labeling.stage import MissingLabels, label

from .conftest import PROMPTS, Paid, Settings, journal_of, rows_of


def test_a_malformed_row_is_named_before_any_work(data: Artifacts, config: Config) -> None:
    path = data.folder / "dataset" / "test.jsonl"
    path.write_text(path.read_text().replace('"price": 571.29', '"price": "dear"', 1))
    with pytest.raises(UnusableRows, match=r"test\.jsonl:1: metrics\.price: "):
        label(config, data)
    assert not (data.folder / "label").exists()


def test_paid_labels_keep_model_prompt_tokens_and_cost(
    data: Artifacts,
    paid: Paid,
    key: str,
    stand_in: StandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    label(paid(), data)
    rows, manifest = rows_of(data), data.manifest("label")
    assert len(rows) == PROMPTS + 1
    by_prompt = {row["prompt_hash"]: row for row in rows}
    assert len(by_prompt) == PROMPTS
    for row in rows:
        assert row["teacher"] == "stand-in/gpt-4.1"
        assert row["answer"] == canonical(rules.answer(metrics_of(row), row["detail"]))
        tokens = row["tokens"]
        fresh = tokens["prompt"] - tokens["cached"]
        assert row["nano_usd"] == fresh * 2000 + tokens["cached"] * 500 + tokens["completion"] * 8000
    assert manifest["teacher"] == "openai"
    assert (manifest["model"], manifest["models"]) == ("stand-in/gpt-4.1", {"stand-in/gpt-4.1": PROMPTS})
    assert manifest["stand_in"] is True
    assert manifest["cost"]["nano_usd"] == sum(row["nano_usd"] for row in by_prompt.values())
    assert Decimal(manifest["cost"]["usd"]) == Decimal(manifest["cost"]["nano_usd"]).scaleb(-9)
    assert manifest["cost"]["unsettled"] == {"calls": 0, "nano_usd": 0}
    assert manifest["tokens"]["prompt"] == sum(row["tokens"]["prompt"] for row in by_prompt.values())
    assert manifest["failures"] == {"prompts_without_label": {}, "answers_not_taken": {}}
    assert set(manifest["balance"]) == set(SPLITS)
    message = capsys.readouterr().err
    assert "12 pairs by gpt-4.1" in message
    assert f"to ask: {PROMPTS} prompts" in message
    assert "cap: $1, of which $0 is spent" in message
    assert key not in message


def test_a_second_run_pays_for_nothing(data: Artifacts, paid: Paid, key: str, stand_in: StandIn) -> None:
    label(paid(), data)
    first, before = rows_of(data), stand_in.tally()["answered"]
    label(paid(), data)
    assert stand_in.tally()["answered"] == before
    assert rows_of(data) == first


def test_the_estimate_asks_nothing_and_needs_no_key(
    data: Artifacts,
    paid: Paid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    costs = []
    for name in ("openai", "openai-batch"):
        label(paid(name), data, estimate_only=True)
        message = capsys.readouterr().err
        assert f"to ask: {PROMPTS} prompts (8 brief, 3 full)" in message
        costs.append(
            [Decimal(line.rpartition("$")[2].partition(",")[0]) for line in message.splitlines() if " out, $" in line]
        )
    assert not data.done("label")
    for live, batch in zip(*costs, strict=True):
        assert live / 2 <= batch <= live / 2 + PROMPTS * Decimal("1e-9")
    label(paid(max_usd="0.001"), data, estimate_only=True)
    assert "labelling will stop at the cap" in capsys.readouterr().err


def test_without_a_key_nothing_is_asked(
    data: Artifacts,
    paid: Paid,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(TeacherFailed, match="OPENAI_API_KEY"):
        label(paid(), data)


def test_the_cap_keeps_what_was_paid_and_a_higher_one_continues(
    data: Artifacts,
    paid: Paid,
    settings: Settings,
    key: str,
    stand_in: StandIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = stand_in.tally()["answered"]
    with pytest.raises(CapReached):
        label(paid(max_usd="0.0165"), data)
    some = journal_of(data)
    assert 0 < len(some.labels) < PROMPTS
    assert some.spent <= 16_500_000
    assert not data.done("label")
    with pytest.raises(SystemExit) as ended:
        main(["label", "--config", str(settings(max_usd="0.0165")), "--runs", str(data.folder.parent)])
    assert ended.value.code == 2
    assert "raise it and run again" in capsys.readouterr().err
    label(paid(max_usd="0.5"), data)
    assert stand_in.tally()["answered"] - before == PROMPTS
    assert data.done("label")


def test_what_the_teacher_would_not_answer_is_left_out_and_counted(
    data: Artifacts,
    paid: Paid,
    key: str,
    stand_in: StandIn,
) -> None:
    stand_in.fail("refusal", times=2)
    with pytest.raises(MissingLabels, match=r"teacher\.max_failed: 1 of 7 pairs of train"):
        label(paid(tries=2, concurrency=1), data)
    assert not data.done("label")
    label(paid(tries=2, concurrency=1, max_failed=0.2), data)
    manifest = data.manifest("label")
    assert manifest["failures"] == {"prompts_without_label": {"refusal": 1}, "answers_not_taken": {"refusal": 2}}
    assert manifest["pairs"] == {"train": 6, "validation": 3, "test": 2}
    assert len(rows_of(data)) == PROMPTS


def test_repeats_measure_the_teacher(data: Artifacts, paid: Paid, key: str, stand_in: StandIn) -> None:
    before = stand_in.tally()["answered"]
    label(paid(), data, repeat=3, sample=4)
    assert stand_in.tally()["answered"] - before == PROMPTS + 2 * 4
    found = data.manifest("label")["self_agreement"]
    assert (found["repeats"], found["prompts"], found["action_agreement"]) == (3, 4, 1)
    assert len(rows_of(data)) == PROMPTS + 1

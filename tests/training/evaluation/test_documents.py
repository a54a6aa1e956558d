from __future__ import annotations

import pytest

from tests.training.publish.test_stage import REPORT
from training.artifacts import Artifacts, write_json
from training.evaluation.documents import evaluations


def test_only_evaluations_of_a_detail_are_read_and_whole(artifacts: Artifacts) -> None:
    folder = artifacts.stage("evaluate")
    write_json(folder / "brief-awq.json", {**REPORT, "kappa": 0.8})
    (folder / "curve.json").write_text("[]")
    (folder / "brief-awq.jsonl").write_text("rows")
    assert evaluations(artifacts) == {"brief-awq": {**REPORT, "kappa": 0.8}}


def test_a_run_that_was_not_evaluated_has_none(artifacts: Artifacts) -> None:
    assert evaluations(artifacts) == {}


def test_every_fault_is_reported_with_file_and_field(artifacts: Artifacts) -> None:
    folder = artifacts.stage("evaluate")
    write_json(folder / "brief-awq.json", {**REPORT, "failures": {"length": -1}, "teacher": None})
    write_json(folder / "full-awq.json", {name: value for name, value in REPORT.items() if name != "agreement"})
    (folder / "full-merged.json").write_text("{")
    with pytest.raises(ValueError) as caught:
        evaluations(artifacts)
    for message in (
        "brief-awq.json: failures.length: Input should be greater",
        "brief-awq.json: teacher: Input should be a valid string",
        "full-awq.json: agreement: Field required",
        "full-merged.json: file: Invalid JSON",
    ):
        assert message in str(caught.value)

"""Metrics -> the answers the model learns. Every label says whose it is."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from app import rules
from app.contract.features import Metrics
from app.contract.fingerprint import fingerprint
from app.contract.recommendation import canonical
from training.artifacts import Artifacts, read_rows, write_rows
from training.config import Config
from training.dataset import SPLITS


def label(config: Config, artifacts: Artifacts) -> None:
    """Write the data set again, each row with `answer` (canonical JSON) and `teacher`."""
    source, folder = artifacts.folder / "dataset", artifacts.stage("label")
    artifacts.manifest("dataset")
    balance: dict[str, Any] = {}
    for name in SPLITS:
        rows = [_labelled(row) for row in read_rows(source / f"{name}.jsonl")]
        write_rows(folder / f"{name}.jsonl", rows)
        counts = Counter(row["action"] for row in rows)
        balance[name] = {action: round(count / len(rows), 4) for action, count in counts.most_common()}
    artifacts.complete(
        "label",
        {"teacher": config.teacher.name, "model": rules.MODEL_ID, "fingerprint": fingerprint(), "balance": balance},
    )


def _labelled(row: dict[str, Any]) -> dict[str, Any]:
    answer = rules.answer(metrics_of(row), row["detail"])
    return {
        **row,
        "answer": canonical(answer),
        "action": answer.action,
        "conviction": answer.conviction,
        "teacher": rules.MODEL_ID,
    }


def metrics_of(row: dict[str, Any]) -> Metrics:
    """A row's metrics, read as the gateway reads them."""
    return Metrics.model_validate_json(json.dumps(row["metrics"]))

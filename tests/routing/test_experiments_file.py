"""The experiments' file while it changes under a running gateway."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidSettings
from app.routing.experiments_file import CHECK_INTERVAL_S, Experiments


def document(name: str = "tuned", weight: int = 5000) -> dict[str, Any]:
    arms = [
        {"name": "ours", "backend": "mistral", "weight": weight},
        {"name": "theirs", "backend": "gpt-4", "weight": 10_000 - weight},
    ]
    return {"experiments": [{"name": name, "arms": arms}]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "experiments.json"
    path.write_text(json.dumps(document()))
    return path


def weight(experiments: Experiments) -> int | None:
    found = experiments.experiment("brief")
    return None if found is None else found.arms[0].weight


def test_without_a_file_there_are_none() -> None:
    experiments = Experiments(None)
    assert not experiments.any
    assert experiments.experiment("full") is None


def test_a_change_is_loaded_at_the_next_check(path: Path) -> None:
    clock = Clock()
    experiments = Experiments(path, clock)
    path.write_text(json.dumps(document(weight=100)))
    assert weight(experiments) == 5000
    clock.now += CHECK_INTERVAL_S
    assert weight(experiments) == 100


def test_a_replaced_file_is_loaded_even_if_it_is_older(path: Path, tmp_path: Path) -> None:
    clock, other = Clock(), tmp_path / "other.json"
    other.write_text(json.dumps(document(weight=200)))
    path.touch()
    experiments = Experiments(path, clock)
    other.rename(path)
    clock.now += CHECK_INTERVAL_S
    assert weight(experiments) == 200


@pytest.mark.parametrize("text", ["{", json.dumps({"experiments": [{"name": "x"}]}), None])
def test_an_invalid_change_is_reported_and_ignored_until_it_is_fixed(
    path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    experiments = Experiments(path, clock)
    path.unlink() if text is None else path.write_text(text)
    clock.now += CHECK_INTERVAL_S
    assert weight(experiments) == 5000
    assert experiments.problem is not None
    assert experiments.problem.startswith("CONVICTION_EXPERIMENTS_FILE: ")
    assert experiments.problem.endswith("; the previous experiments stay active")
    clock.now += CHECK_INTERVAL_S
    assert weight(experiments) == 5000
    assert [record.levelno for record in caplog.records] == [logging.ERROR]  # logged once
    path.write_text(json.dumps(document(weight=300)))
    clock.now += CHECK_INTERVAL_S
    assert weight(experiments) == 300
    assert not experiments.problem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "the file cannot be read"),
        ("[", "Invalid JSON"),
        (json.dumps(document(weight=10_001)), r"experiments\.0\.arms\.0\.weight: "),
        (json.dumps({"experiments": [*document()["experiments"] * 2]}), "more than one experiment is named tuned"),
    ],
)
def test_an_invalid_initial_file_is_refused(tmp_path: Path, text: str | None, complaint: str) -> None:
    path = tmp_path / "experiments.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidSettings, match=f"^CONVICTION_EXPERIMENTS_FILE: .*{complaint}") as refusal:
        Experiments(path)
    assert str(tmp_path) not in str(refusal.value)

from __future__ import annotations

import os
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.manifest import UnusableModel
from training.artifacts import Artifacts
from training.config.run import Config
from training.costs.recorded import measured_speed, recorded

STORE = Path(__file__).parents[3] / "model_store"
REPORT: dict[str, Any] = {"speed": {"seconds": 2.0}, "agreement": {"n": 3}, "machine": "x86_64, 2 cores"}
"""An evaluation as it was written before form and dtype were recorded."""


def trained(folder: Path, at: int, **tuned: Any) -> None:
    """Complete a run's training at a time, in seconds."""
    run = Artifacts(folder)
    run.complete("label", {"model": f"teacher-{at}"})
    run.complete("finetune", {"seconds": 60, **tuned})
    os.utime(folder / "finetune" / "manifest.json", (at, at))


def test_a_speed_is_kept_with_the_form_and_dtype_that_it_was_measured_in_where_those_are_recorded() -> None:
    known = {"seconds": 2.0, "calls": 3, "machine": "x86_64, 2 cores"}
    served = {"form": "dequantized", "dtype": "float32"}
    assert measured_speed(REPORT) == measured_speed({**REPORT, "served": None}) == known
    assert measured_speed({**REPORT, "served": served}) == {**known, "served": served}


def test_the_newest_run_of_each_process_count_and_machine_is_kept(config: Config, tmp_path: Path) -> None:
    cpu, gpu = {"machine": "EPYC", "device": "cpu"}, {"machine": "Xeon, 4 x A100", "device": "gpu"}
    trained(tmp_path / "runs" / "old" / "toy", 1, seconds=10, devices=1, **cpu)
    trained(tmp_path / "runs" / "gpu" / "toy", 2, seconds=20, devices=2, **gpu)
    trained(tmp_path / "runs" / "two" / "toy", 3, seconds=30, devices=2, **cpu)
    trained(tmp_path / "runs" / "toy", 4, seconds=40, devices=1, **cpu)
    trained(tmp_path / "runs" / "another", 5, seconds=50, devices=4, **cpu)
    found = recorded(config, tmp_path / "runs", tmp_path / "store", None)
    assert found is not None
    assert [(row.source, row.machine, row.devices, row.seconds) for row in found.trainings] == [
        ("measured on a GPU", "Xeon, 4 x A100", 2, 20),
        ("measured on a CPU", "EPYC", 2, 30),
        ("measured on a CPU", "EPYC", 1, 40),
    ]
    assert found.teacher == "teacher-4"


def test_a_run_counts_as_newer_than_a_published_version(config: Config, tmp_path: Path) -> None:
    shipped = config.model_copy(update={"name": "smollm2-135m"})
    version = recorded(shipped, tmp_path / "runs", STORE, None)
    assert version is not None
    [row] = version.trainings
    trained(tmp_path / "runs" / "smollm2-135m", 1, devices=row.devices, machine=row.machine)
    run = recorded(shipped, tmp_path / "runs", STORE, None)
    assert run is not None
    assert [row.seconds for row in run.trainings] == [60]
    assert run.served == version.served  # the run has no evaluation


def test_a_published_version_states_its_cost(config: Config, tmp_path: Path) -> None:
    shipped = config.model_copy(update={"name": "smollm2-135m"})
    found = recorded(shipped, tmp_path / "runs", STORE, None)
    assert found is not None
    assert found.teacher.startswith("rule-based-analyst")
    assert found.usd_per_hour == Decimal("0.10")


def test_a_version_that_is_not_what_was_published_is_not_read(config: Config, tmp_path: Path) -> None:
    [shipped, *_] = (STORE / "smollm2-135m").iterdir()
    version = shutil.copytree(shipped, tmp_path / "store" / "toy" / "1")
    (version / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(UnusableModel, match="is not what was published"):
        recorded(config, tmp_path / "runs", tmp_path / "store", None)

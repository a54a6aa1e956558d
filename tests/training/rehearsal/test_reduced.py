"""The configuration of a rehearsal has the run's memory and few pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import load
from training.rehearsal.reduced import changes, notes, reduced, toml

CONFIGS = sorted((Path(__file__).parents[3] / "training" / "configs").glob("*.toml"))
KEPT = ("rank", "alpha", "dropout", "batch", "max_length", "packing", "checkpointing", "soft", "steps")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_what_decides_a_step_s_memory_stays_and_the_file_is_read_back(file: Path, tmp_path: Path) -> None:
    config = load(file)
    own = reduced(config, changes(config, gpu=False, search=True), "few", tmp_path / "source")
    for name in KEPT:
        assert getattr(own.finetune, name) == getattr(config.finetune, name)
    assert own.quantize.group_size == config.quantize.group_size and own.quantize.search == config.quantize.search
    assert own.dataset.train.brief + own.dataset.train.full <= 18
    (tmp_path / "few.toml").write_text(toml(own))
    assert load(tmp_path / "few.toml") == own


def test_what_the_machine_does_not_have_is_left_out_and_named() -> None:
    config = load(next(file for file in CONFIGS if file.stem == "mistral-7b"))
    config = config.model_copy(update={"finetune": config.finetune.model_copy(update={"qlora": True})})
    on_cpu, on_gpu = (changes(config, gpu=gpu, search=False) for gpu in (False, True))
    assert on_cpu["finetune.qlora"] is False and "finetune.qlora" not in on_gpu
    assert "finetune.qlora = false, configured true" in list(notes(config, on_cpu))
    assert "quantize.search = false, configured true" in list(notes(config, on_gpu))

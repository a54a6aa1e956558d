from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import Config, load
from training.finetune.early_stopping import require_evaluations

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
BRIEF, FULL = 187, 556
"""Tokens of the worked example's pair in Mistral's vocabulary (deploy/sizing)."""


@pytest.mark.parametrize(("rows", "evaluate_every", "evaluations"), [(16, 4, 2), (24, 6, 2), (25, 9, 1), (1, 1, 1)])
def test_too_few_evaluations_are_refused_with_a_number_that_fits(
    config: Config, rows: int, evaluate_every: int, evaluations: int
) -> None:
    changes = {"patience": 2, "evaluate_every": evaluate_every, "batch": 2, "epochs": 1}
    settings = config.finetune.model_copy(update=changes)
    with pytest.raises(ValueError, match=rf"patience = 2 needs 3 evaluations .* have {evaluations}: ") as caught:
        require_evaluations(settings, rows)
    if rows > 4:
        often = int(str(caught.value).partition("evaluate_every = ")[2].rpartition("evaluate_every = ")[2].split()[0])
        require_evaluations(settings.model_copy(update={"evaluate_every": often}), rows)
        with pytest.raises(ValueError, match="evaluations"):
            require_evaluations(settings.model_copy(update={"evaluate_every": often + 1}), rows)
    require_evaluations(settings.model_copy(update={"patience": None}), rows)


def test_steps_are_shared_by_the_processes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config.finetune.model_copy(update={"patience": 2, "evaluate_every": 2, "batch": 2, "epochs": 1})
    require_evaluations(settings, 12)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="3 steps with evaluate_every = 2 have 1: set evaluate_every = 1 or less"):
        require_evaluations(settings, 12)


@pytest.mark.parametrize("processes", ["1", "2", "4"])
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_can_stop_early(path: Path, processes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    config = load(path)
    settings, pairs = config.finetune, config.dataset.train
    packed = (pairs.brief * BRIEF + pairs.full * FULL) // settings.max_length
    require_evaluations(settings, packed if settings.packing else pairs.brief + pairs.full)

"""The families of the configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.cli.main import main
from training.config.run import load
from training.rehearsal.families import FAMILIES, family_of
from training.rehearsal.tokenizer import sentencepiece

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def test_every_base_of_the_hub_has_one_and_others_are_refused() -> None:
    bases = [load(file).base for file in CONFIGS.glob("*.toml")]
    assert {base.repo for base in bases if base.source == "hub"} == FAMILIES.keys()
    with pytest.raises(ValueError, match=r"shapes of SmolLM2-135M-Instruct are not known; those of mistralai/"):
        family_of(load(CONFIGS / "default.toml").base)


def test_an_environment_without_tokenizers_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no tokenizer: {tmp_path} has no lib"):
        sentencepiece(family_of(load(CONFIGS / "mistral-7b.toml").base), tmp_path)


def test_the_command_refuses_a_base_without_shapes_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rehearse", "--config", str(CONFIGS / "default.toml"), "--runs", str(tmp_path / "runs")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("training: the shapes of") and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()

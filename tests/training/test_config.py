from __future__ import annotations

from pathlib import Path

import pytest

from training.config import ConfigError, load

SHIPPED = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert load(path).name


def test_every_error_is_told_at_once(config_file: Path) -> None:
    text = config_file.read_text()
    for right, wrong in (("rank = 4", "rank = 0"), ('"rules"', '"gpt"'), ("bits = 4", "bits = 3")):
        text = text.replace(right, wrong)
    config_file.write_text(text + "\nsurprise = 1\n")
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    for wrong in ("finetune.rank", "teacher.name", "quantise.bits", "quantise.surprise"):
        assert wrong in str(caught.value)


@pytest.mark.parametrize(("text", "told"), [("a = ", "Invalid value"), ("", "name: Field required")])
def test_what_is_no_config_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load(tmp_path / "absent.toml")

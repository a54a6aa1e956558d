from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import complete
from training.artifacts import Artifacts, read_json
from training.changes import MADE_BY, ChangedConfig, begin, require_unchanged
from training.cli.main import main
from training.config.run import Config


def changed(config: Config, section: str, **settings: Any) -> Config:
    return Config.model_validate({**(whole := config.model_dump()), section: {**whole[section], **settings}})


def test_every_changed_setting_is_named_once_with_the_folders_made_by_it(config: Config, artifacts: Artifacts) -> None:
    for stage in ("dataset", "label", "finetune", "merge"):
        complete(config, artifacts, stage)
    artifacts.stage("report")
    other = changed(changed(config, "finetune", rank=8), "quantize", search=False)
    with pytest.raises(ChangedConfig) as caught:
        require_unchanged(other, artifacts)
    run = artifacts.folder
    assert str(caught.value) == (
        f"{run} was begun with finetune.rank = 4, the config says 8, and was begun with quantize.search = true, "
        f"the config says false: use another --runs, or delete {run}/finetune, {run}/merge, {run}/report"
    )


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("quantize", {"group_size": 64}),
        ("evaluate", {"concurrency": 1}),
        ("publish", {"max_failures": 0.1}),
        ("finetune", {"save_every": 3, "usd_per_hour": "2"}),
        ("teacher", {"tries": 9, "concurrency": 1}),
    ],
)
def test_settings_of_later_stages_or_without_effect_may_change(
    config: Config, artifacts: Artifacts, section: str, settings: dict[str, Any]
) -> None:
    for stage in ("dataset", "label", "finetune"):
        complete(config, artifacts, stage)
    require_unchanged(changed(config, section, **settings), artifacts)


def test_every_section_belongs_to_a_stage_or_to_what_follows_the_stages() -> None:
    sections = {section for sections in MADE_BY.values() for section in sections}
    assert Config.model_fields.keys() - sections == {"name", "evaluate", "publish"}


def test_a_stage_with_a_checkpoint_is_begun_and_without_one_it_starts_again(
    config: Config, artifacts: Artifacts
) -> None:
    begin(config, artifacts, "finetune")
    longer = changed(config, "finetune", max_length=2048)
    begin(longer, artifacts, "finetune")
    assert read_json(artifacts.folder / "finetune" / "config.json")["finetune"]["max_length"] == 2048
    (artifacts.folder / "finetune" / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    begin(longer, artifacts, "finetune")
    with pytest.raises(ChangedConfig, match=r"finetune\.max_length = 2048, the config says 1024"):
        begin(config, artifacts, "finetune")


def test_a_stage_does_not_follow_one_made_with_other_settings(config: Config, artifacts: Artifacts) -> None:
    complete(config, artifacts, "dataset")
    with pytest.raises(ChangedConfig, match=r"dataset\.seed = 3, the config says 4: .*/dataset$"):
        begin(changed(config, "dataset", seed=4), artifacts, "label")


def test_a_section_may_be_added_before_its_stage_but_not_removed_after(config: Config, artifacts: Artifacts) -> None:
    complete(config, artifacts, "finetune")
    with_qat = Config.model_validate({**config.model_dump(), "qat": config.finetune.model_dump()})
    complete(with_qat, artifacts, "qat")
    with pytest.raises(ChangedConfig, match=r"qat = \{.*\}, the config says null: .*/qat$"):
        require_unchanged(config, artifacts)


def test_the_commands_of_stages_record_and_refuse(
    config_file: Path, synthetic_market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--config", str(config_file), "--runs", str(tmp_path / "runs")]
    main(["dataset", *common, "--market", str(synthetic_market)])
    main(["label", *common])
    config_file.write_text(config_file.read_text().replace("seed = 3\ndrop", "seed = 4\ndrop"))
    for command in (["dataset", *common, "--market", str(synthetic_market)], ["label", *common]):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(command)
        assert "was begun with dataset.seed = 3, the config says 4" in capsys.readouterr().err

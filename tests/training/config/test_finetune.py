from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import ConfigError, load


def test_packed_rows_have_neither_soft_labels_nor_steps(config_file: Path) -> None:
    text = config_file.read_text()
    config_file.write_text(text.replace("[finetune]", "[finetune]\npacking = true"))
    with pytest.raises(ConfigError, match=r"finetune\.packing: Value error, packed rows have hard labels and no steps"):
        load(config_file)
    config_file.write_text(text.replace("[finetune]", "[finetune]\npacking = true\nsoft = false\nsteps = 0"))
    assert load(config_file).finetune.packing

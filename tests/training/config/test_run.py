from __future__ import annotations

from pathlib import Path

import pytest

from training.config.run import ConfigError, load

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "training" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert load(path).name


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.stem != "learning-curve"], ids=lambda path: path.name)
def test_shipped_configs_have_the_test_pairs_that_publication_requires(path: Path) -> None:
    config = load(path)
    for detail, least in config.publish.min_pairs.model_dump().items():
        assert getattr(config.dataset.test, detail) >= least


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_configs_of_hub_models_have_a_gpu_s_price(path: Path) -> None:
    config = load(path)
    assert (config.finetune.usd_per_hour > 0) == (config.base.source == "hub")


def test_every_error_is_all_reported(config_file: Path) -> None:
    text = config_file.read_text()
    for right, wrong in (("rank = 4", "rank = 0"), ('"rules"', '"gpt"'), ("bits = 4", "bits = 3")):
        text = text.replace(right, wrong)
    config_file.write_text(text + "\nsurprise = 1\n")
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    for wrong in ("finetune.rank", "teacher.name", "quantize.bits", "quantize.surprise"):
        assert wrong in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("a = ", "Invalid value"), ("", "name: Field required")])
def test_what_is_no_config_is_reported(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load(tmp_path / "absent.toml")


def test_sections_that_do_not_fit_together_are_all_reported_beside_a_wrong_setting(config_file: Path) -> None:
    text = config_file.read_text()
    finetune = "[finetune]" + text.partition("[finetune]")[2].partition("[")[0]
    qat = finetune.replace("[finetune]", "[qat]\npairs = { brief = 13, full = 4 }\nqlora = true")
    text = text.replace("[finetune]", "[finetune]\nvalidate = 7").replace("[quantize]", f"{qat}[quantize]")
    config_file.write_text(text.replace("bits = 4", 'bits = 3\nkeep = ["qproj"]'))
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    for wrong in (
        "finetune: Value error, validate is 7, and dataset.validation has 6",
        "qat: Value error, pairs.brief is 13, and dataset.train has 12",
        "continues finetune's adapter on the bf16 base: remove continue_from and qlora",
        "quantize.bits: Input should be 4",
        "quantize.keep: Value error, 'qproj' is part of no layer's name",
    ):
        assert wrong in str(caught.value)


def test_quantization_aware_training_continues_the_adapter_as_it_is(config_file: Path) -> None:
    text = config_file.read_text()
    finetune = "[finetune]" + text.partition("[finetune]")[2].partition("[")[0]
    qat = finetune.replace("[finetune]", "[qat]").replace("rank = 4", "rank = 8").replace("1024", "512")
    config_file.write_text(text.replace("[quantize]", f"{qat}[quantize]"))
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    assert "qat: Value error, rank is 8, and the adapter that it continues has 4" in str(caught.value)
    assert "max_length is 512, below finetune's 1024" in str(caught.value)


def test_the_demo_is_trained_and_quantized_like_the_default_model() -> None:
    demo, default = (load(SHIPPED[0].parent / name) for name in ("demo.toml", "default.toml"))
    assert demo.quantize == default.quantize
    assert not demo.quantize.search and demo.qat is not None
    assert default.finetune.continue_from is demo.finetune.continue_from is None
    for name in ("rank", "alpha", "batch", "learning_rate", "steps", "soft"):
        assert getattr(demo.finetune, name) == getattr(default.finetune, name)
